"""Mail: a job per letter, no faster than the server takes them, and a digest each morning.

stepwell dev examples/mailing/app.py
stepwell schedules next morning
stepwell schedules trigger morning
stepwell enqueue send_mail '{"sender": "shop", "to": "ada@example.org", "text": "Hello"}' --wait
"""

from datetime import timedelta

from stepwell import Flow, RateLimit, Schedule, Spawn, Stepwell, cron, job

server = RateLimit("mail_server", 20, per=timedelta(seconds=1), burst=5)


@job(queue="mail", rate_limit=server, fairness_by="sender", no_retry=(ValueError,))
async def send_mail(sender: str, to: str, text: str) -> str:
    if "@" not in to:
        raise ValueError(f"{to!r} is no address")  # no retry could help
    return f"{sender} to {to}: {text}"


digest = Flow[str, dict[str, list[str]]]("digest")


@digest.step
async def readers(flow_input: str) -> list[str]:
    return [f"reader{n}@example.org" for n in range(8)]


@digest.step
async def letters(readers: list[str], flow_input: str) -> Spawn:  # its output is what they return
    return Spawn([send_mail.call(sender=flow_input, to=to, text="today") for to in readers])


morning = Schedule(
    "morning", digest.call("shop"), cron("0 7 * * MON-FRI", tz="Europe/Berlin"), overlap="queue"
)

app = Stepwell(flows=[digest], jobs=[send_mail], schedules=[morning], limits=[server])
