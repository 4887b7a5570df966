"""The three kinds of durable work: a flow, a machine, a job."""

from datetime import timedelta

from stepwell import Await, Done, Flow, Machine, MachineContext, Stepwell, Stop, job, step

greet = Flow("greet")


@greet.map  # one task per element of the input, each with its own retries
async def greeting(name: str) -> str:
    return f"Hello {name.title()}!"


@greet.step  # a parameter named after a step is a dependency on it
def letter(greeting: list[str]) -> str:
    return "\n".join(greeting)


class Order(Machine):
    number: int  # the fields are the durable state

    @step(initial=True)
    async def start(self, ctx: MachineContext) -> Await:
        return Await("paid", then=self.ship, timeout=timedelta(hours=1))

    @step
    async def ship(self, ctx: MachineContext) -> Done | Stop:
        return Done({"shipped": self.number}) if ctx.awaited else Stop("payment never came")


@job(queue="mail", max_attempts=20)
async def send_welcome(user_id: int) -> None: ...


app = Stepwell(flows=[greet], machines=[Order], jobs=[send_welcome])
