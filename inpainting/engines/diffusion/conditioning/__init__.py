"""What a generation is conditioned on beside noise and mask: prompts, LoRAs, ControlNets, IP-Adapters, embeddings.

The life of a LoRA, by the modules that it passes:

1. **Store** (`catalog.store.lora_store`). `add_lora`, or `add_model --scan`, stages the file, checks its tensors
   against the family (`catalog.inspection.lora_files`) and stores it with its row. Nobody uploads one.
2. **Request** (`engines.diffusion.declaration.find_loras`). The names in the settings become the stored LoRAs of the
   model's family; `regional_prompts.active_adapters` adds those of regions.
3. **Load** (`serving.loading.loads`, `lora_adapters.LoadedLoras`). The file is checked once more and read. Its tensors
   are matched with the layers of the networks by their names (`lora_layer_names`, with those of the family's own
   trainers), and each becomes a delta of one layer.
4. **Step** (`serving.lora_fusion`, `delta_layers`). Before the networks are called, deltas are fused into copies of the
   weights where that pays off; elsewhere hooks of the layers add them (`LoadedLoras.activate`).
"""
