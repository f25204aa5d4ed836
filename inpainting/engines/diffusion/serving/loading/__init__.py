"""Reading models and adapters from files into memory, beside the steps of other generations."""
