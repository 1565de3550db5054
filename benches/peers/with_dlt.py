"""dlt: pages of conversations through its own normaliser to Parquet files.

It does less than the others: it names and types tables by what it meets, folds no metrics, and its plain file
destination has no partitions by a column. So only its numbers of rows are compared.
"""

import os
import tempfile

from peer import call

job = call()
workers = str(job.threads)
os.environ |= {
    "EXTRACT__WORKERS": workers,
    "NORMALIZE__WORKERS": workers,
    "LOAD__WORKERS": workers,
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "DATA_WRITER__COMPRESSION": "zstd",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}

import json

import dlt

PAGE = 100


@dlt.resource(name="conversations", primary_key="conversationId")
def conversations():
    page = []
    with open(job.input, "rb") as lines:
        for line in lines:
            document = json.loads(line)
            page += document["conversations"] if job.pages else [document]
            if len(page) >= PAGE:
                yield page
                page = []
    if page:
        yield page


with tempfile.TemporaryDirectory() as own:
    to = dlt.destinations.filesystem(job.out.as_uri())
    pipeline = dlt.pipeline("peers", destination=to, dataset_name="lake", pipelines_dir=own)
    pipeline.run(conversations(), loader_file_format="parquet")
