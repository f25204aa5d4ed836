"""From a request to its images: many jobs share one device, and each step takes images of several jobs.

The life of a job, in the order of the modules that it passes:

1. **Arrival** (`batcher`). `Batcher.paint` runs on the caller's thread. It makes a `Job` (`jobs`), puts it into the
   batcher's queue, and reads the job's messages until the images or an error come; each step is one message, with a
   preview if one is due (`previews`). A caller that leaves ends its job. All else runs on the device's thread, which
   turns in `Batcher._run`: it takes arrivals, admits images, and takes one step of one batch.
2. **Admission** (`admission`). An image of a job waits in the `Workload` (`workload`: images that wait, the job that
   starts, the step batches). `Admission` decides in order of arrival whether it may start: its model and adapters must
   be loaded or fit beside what is in use, and its batch must have room. Images with an equal `BatchKey` share a batch:
   one model, size, set of adapters, length of text and backend. `batch_tuner` measures how many rows still raise the
   throughput.
3. **Cache** (`model_cache`). `ModelCache` has a budget of bytes for what is in the device's memory (`device_memory`):
   models, adapters, LoRAs and fused weights, backends. For a new object it evicts what no job uses, least recently used
   first; an evicted model waits in the machine's memory (`host_memory`).
4. **Loader** (`loads`, `background_loader`, `model_loading`, `adapter_loading`, `part_files`). One thread beside the
   device's reads files or moves weights, one object at a time, so that other batches go on with their steps. A file
   that was replaced has another fingerprint and is loaded again; a job keeps the networks that it began with.
5. **Start** (`admission`). The text is encoded, a backend is chosen (`backend_selection`), and the model's family makes
   the `DenoisingState`: first latents, mask, and a schedule of its own. It joins its batch as an `InFlightSample`.
6. **Steps** (`step_executor`). The batch whose last step is longest ago is next. Its LoRAs are fused if that pays off
   (`lora_fusion`), the network is called for all its rows, at once if memory allows, and each image takes the step of
   its own scheduler. The device is sent the work and is not waited for: whether latents are finite is read a step
   later, and times when the device has noted them.
7. **Finish** (`step_executor`). Images that have taken all steps leave the batch and are decoded, a few at a time. The
   last image of a job ends it with `JobSucceeded`.

When something fails (`failures`): out of memory, the same work is tried for fewer images, then after evicting what is
not in use, then with less memory (tiles, single rows, weights in the machine's memory). Other errors fail the job that
caused them. A device that hangs or is lost (`device_watchdog`) fails no job: the process gives up its device, and its
callers raise `DeviceLost`, so that the generations run elsewhere.
"""
