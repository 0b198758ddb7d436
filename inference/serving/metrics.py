"""What a serving process counts; any Prometheus registry can take these."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
WAITING = Gauge(
    "concord_inference_waiting_images", "Images that wait to be read or analysed", multiprocess_mode="livesum"
)
BATCH = Histogram("concord_inference_batch_images", "Images of one forward pass", buckets=(1, 2, 4, 8, 16, 32, 64))
READ = Histogram("concord_inference_read_seconds", "Reading and preparing one image", buckets=SECONDS)
FORWARD = Histogram("concord_inference_forward_seconds", "One forward pass", buckets=SECONDS)
TOTAL = Histogram("concord_inference_request_seconds", "One request, from asking to findings", buckets=SECONDS)
REQUESTS = Counter("concord_inference_requests", "Requests that ended", ["how"])
HALVED = Counter("concord_inference_halved_batches", "Batches halved because memory ran out")
LOADED_BYTES = Gauge("concord_inference_loaded_bytes", "Weights in memory", multiprocess_mode="livesum")
