"""NeMo Data Designer: a seed table and one structured column, with resuming where it is possible."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from job import EXAMPLES, Job, Outcome, ask, main
from pydantic import BaseModel

os.environ.update(NEMO_TELEMETRY_ENABLED="false", BENCH_KEY="x")


class Objects(BaseModel):
    """The answer."""

    objects: list[str]


def run(job: Job) -> None:
    import data_designer.config as dd
    from data_designer.interface import DataDesigner

    provider = dd.ModelProvider(name="bench", endpoint=job.url, provider_type="openai", api_key="BENCH_KEY")
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=job.concurrency, temperature=0.0, max_tokens=160)
    config = dd.DataDesignerConfigBuilder(
        model_configs=[dd.ModelConfig(alias="text", model=job.model, provider="bench", inference_parameters=parameters)]
    )
    config.with_seed_dataset(dd.LocalFileSeedSource(path=str(job.table)))
    shown = "\n\n".join(f"{ask(caption)}\n{json.dumps({'objects': objects})}" for caption, objects in EXAMPLES)
    config.add_column(
        dd.LLMStructuredColumnConfig(
            name="answer",
            model_alias="text",
            system_prompt=job.prompt,
            prompt=f'{shown}\n\nCaption: "{{{{ caption }}}}"',
            output_format=Objects,
        )
    )
    designer = DataDesigner(artifact_path=str(job.out), model_providers=[provider])
    designer.set_run_config(dd.RunConfig(disable_early_shutdown=True, otel_metrics_port=None))
    rows = sum(1 for _ in job.rows())
    designer.create(config, num_records=rows, dataset_name="objects", resume=dd.ResumeMode.IF_POSSIBLE)


def read(job: Job) -> Iterator[Outcome]:
    import pyarrow.parquet as pq

    folder = max(job.out.glob("objects*"), key=lambda path: path.stat().st_mtime)
    for file in sorted(folder.glob("parquet-files/*.parquet")):
        for row in pq.read_table(file).to_pylist():
            answer = row["answer"]
            answer = json.loads(answer) if isinstance(answer, str) else answer
            yield {"row_id": row["row_id"], "objects": list(answer["objects"])}


if __name__ == "__main__":
    main(run, read)
