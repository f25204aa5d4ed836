"""What the editor's form offers."""
