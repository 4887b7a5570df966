"""What pyright knows about a flow. Checked, never run: pyright strict must find nothing here."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from stepwell import Context, Flow, MachineContext, Step, Stepwell


@dataclass
class Article:
    url: str


@dataclass
class Page:
    text: str
    lang: str


@dataclass
class Receipt:
    id: int


Vector = list[float]

article = Flow("analyze_article", max_attempts=3, base_delay=5, timeout=60)


@article.step
async def scrape(flow_input: Article) -> Page: ...


@article.step(max_attempts=5)
async def summarize(scrape: Page) -> str: ...  # a parameter named after a step is a dependency


@article.step
async def chunks(scrape: Page) -> list[str]: ...


@article.map(over=chunks)  # one task per element, each with its own retries
async def embed(chunk: str, ctx: Context) -> Vector: ...


@article.step(when={"scrape": {"lang": "en"}}, if_unmet="skip")
def publish(summarize: str, embed: list[Vector], flow_input: Article) -> Receipt: ...


@article.step(publish, summarize, if_exhausted="skip", slug="archive_it")
def archive(receipt: Receipt, summary: str) -> None: ...


@article.map
async def each(element: str) -> int: ...


assert_type(article, Flow[Any, Any])
assert_type(publish("x", [[0.5]], Article("x")), Receipt)


async def steps_are_called_like_their_functions(ctx: Context) -> None:
    assert_type(await scrape(Article("x")), Page)
    assert_type(await summarize(scrape=Page("x", "en")), str)
    assert_type(await embed("x", ctx=ctx), Vector)


def what_a_handler_says(ctx: Context, machine: MachineContext) -> None:
    ctx.progress(0.5, "half")
    machine.progress(message="who knows how far")
    ctx.log("fine", level="warning")
    ctx.progress("half")  # pyright: ignore[reportArgumentType]
    machine.log("hm", level="loud")  # pyright: ignore[reportArgumentType]


def what_was_said_of_a_run(ctx: Context, machine: MachineContext) -> None:
    assert_type(ctx.tags, tuple[str, ...])
    assert_type(machine.metadata, Mapping[str, Any])
    ctx.tags = ()  # pyright: ignore[reportAttributeAccessIssue]
    machine.metadata["by"] = 1  # pyright: ignore[reportIndexIssue]


assert_type(archive.dependencies, tuple[str, ...])

typed: Flow[Article, Receipt] = Flow("typed")
assert_type(typed, Flow[Article, Receipt])
assert_type(Flow[Article, Receipt]("said"), Flow[Article, Receipt])


def takes_any_flow(flow: Flow, step: Step[..., Any]) -> Stepwell:
    return Stepwell(flows=[flow, typed, article], name=step.slug)


# Each ignore below is needed: pyright strict reports one that is not.
publish("x", [[0.5]])  # pyright: ignore[reportCallIssue]
scrape("x")  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
article.step(max_attempt=5)  # pyright: ignore[reportCallIssue]
article.step(if_unmet="retry")  # pyright: ignore[reportArgumentType]
article.map(over=5)  # pyright: ignore[reportArgumentType]
wrong: Flow[int, Receipt] = typed  # pyright: ignore[reportAssignmentType]
