"""The smallest flow: greet everybody, at the same time, each with retries of its own."""

from stepwell import Flow, Stepwell

greet = Flow("greet")


@greet.step
async def names(flow_input: list[str]) -> list[str]:
    return [name.strip().title() for name in flow_input]


@greet.map(over=names)
async def greeting(name: str) -> str:
    return f"Hello {name}!"


@greet.step
def letter(greeting: list[str]) -> str:
    return "\n".join(greeting)


app = Stepwell(flows=[greet])
