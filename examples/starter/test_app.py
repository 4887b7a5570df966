"""The flows on a real Postgres, without a worker and without waiting."""

from app import app, orders

from stepwell.testing.plugin import MakeSyncKit


def test_an_order_is_packed_item_by_item(stepwell_sync_kit: MakeSyncKit) -> None:
    with stepwell_sync_kit(app) as kit:
        run = kit.client.start(orders, ["tea", "cup"])
        kit.advance(minutes=1)  # past the second that the retry waits
        kit.expect(run).completed({"label": "2 parcels: one tea, one cup"})


def test_a_shelf_that_does_not_answer_is_asked_again(stepwell_sync_kit: MakeSyncKit) -> None:
    with stepwell_sync_kit(app) as kit:
        run = kit.client.start(orders, ["cup"])
        kit.drain()
        [attempt] = run.attempts()
        assert attempt.error_message == "the shelf did not answer"
        kit.expect(run).live()
