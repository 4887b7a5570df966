"""What this project runs: `stepwell dev app.py`."""

from stepwell import Context, Flow, Stepwell

orders = Flow[list[str], dict[str, str]]("orders", max_attempts=3, base_delay=1)


@orders.map  # one task for each item of the input, each with its own retries
async def pack(item: str, ctx: Context) -> str:
    if item == "cup" and ctx.attempt == 1:
        raise ConnectionError("the shelf did not answer")  # tried again after a second
    return f"one {item}"


@orders.step  # a parameter named after a step is a dependency on it
def label(pack: list[str]) -> str:
    return f"{len(pack)} parcels: {', '.join(pack)}"


app = Stepwell(flows=[orders])
