"""The flow of the design, and where the values of its steps come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepwell import Context, Flow, Step


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


Anyone = Step[..., Any]


def article_flow() -> Flow:
    article = Flow("analyze_article", max_attempts=3, base_delay=5, timeout=60)

    @article.step
    async def scrape(flow_input: Article) -> Page: ...

    @article.step(max_attempts=5)
    async def summarize(scrape: Page) -> str: ...

    @article.step
    async def chunks(scrape: Page) -> list[str]: ...

    @article.map(over=chunks)
    async def embed(chunk: str, ctx: Context) -> Vector: ...

    @article.step(when={"scrape": {"lang": "en"}}, if_unmet="skip")
    def publish(summarize: str, embed: list[Vector], flow_input: Article) -> Receipt: ...

    return article


def sources(step: Anyone) -> dict[str, str]:
    return {p.name: p.dependency or p.source for p in step.parameters}
