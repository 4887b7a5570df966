"""Analyze an article: a map with retries of its own, a condition, a sync handler; no network.

stepwell dev examples/article/app.py
stepwell start analyze_article --input '{"url": "https://example.org/en/rivers"}' --wait
"""

import asyncio
import hashlib
from dataclasses import dataclass

from stepwell import Context, Flow, Stepwell


@dataclass
class Article:
    url: str


@dataclass
class Page:
    url: str
    lang: str
    text: str


@dataclass
class Receipt:
    url: str
    summary: str
    vectors: int


Vector = list[float]

article = Flow("analyze_article", max_attempts=3, base_delay=5, timeout=60)


@article.step
async def scrape(flow_input: Article) -> Page:
    await asyncio.sleep(0.2)  # stands for the network
    lang = "de" if "/de/" in flow_input.url else "en"
    return Page(url=flow_input.url, lang=lang, text=TEXTS[lang])


@article.step(max_attempts=5)
async def summarize(scrape: Page) -> str:  # a parameter named after a step is a dependency on it
    return scrape.text.partition(".")[0] + "."


@article.step
async def chunks(scrape: Page) -> list[str]:
    return [f"{sentence.strip()}." for sentence in scrape.text.split(".") if sentence.strip()]


@article.map(over=chunks, base_delay=1)  # one task per element, each with its own retries
async def embed(chunk: str, ctx: Context) -> Vector:
    await asyncio.sleep(0.1)  # stands for a model
    if ctx.task_index == 2 and ctx.attempt == 1:
        raise ConnectionError("the model did not answer")
    return [byte / 255 for byte in hashlib.sha256(chunk.encode()).digest()[:8]]


@article.step(when={"scrape": {"lang": "en"}}, if_unmet="skip")
def publish(summarize: str, embed: list[Vector], flow_input: Article) -> Receipt:
    return Receipt(url=flow_input.url, summary=summarize, vectors=len(embed))


app = Stepwell(flows=[article])

TEXTS = {
    "en": (
        "Rivers remember rain. A spring begins it. Streams join on the slope. The valley widens. "
        "Towns grow at the fords. Mills turn. Barges carry grain. The delta spreads. "
        "Salt meets fresh water. Clouds rise from the sea. Wind brings them back. It rains."
    ),
    "de": (
        "Brunnen sind geduldig. Stufe um Stufe geht es hinab. Im Sommer ist es unten kühl. "
        "Nach dem Regen steigt das Wasser. Im Winter ruht es. Jemand schöpft."
    ),
}
