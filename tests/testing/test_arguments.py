"""Arguments arrive at answers and fakes as they arrive at the functions themselves."""

from dataclasses import dataclass

from durable_monty.testing import play


@dataclass
class Order:
    number: int
    total: int


def pay(order: Order) -> int:
    return order.total


def test_a_function_that_answers_gets_instances(register):
    register("pay_order", pay)
    order = {"number": 7, "total": 80}
    seen = []
    played = play("await pay_order(order)", {"order": order}, {"pay_order": seen.append})
    assert played.error is None
    assert seen == [Order(7, 80)]


def test_a_fake_gets_instances(register, durable, service):
    register("pay_order", pay)
    fake = durable.fake("pay_order", returns=1)
    order = {"number": 7, "total": 80}
    durable.run_to_end(
        service.start_execution("await pay_order(order)", ["pay_order"], {"order": order})
    )
    fake.assert_called_once_with(Order(7, 80))


def test_arguments_that_cannot_become_instances_fail_as_in_production(register, durable, service):
    register("pay_order", pay)
    source = "try:\n    await pay_order({'number': 7})\nexcept TypeError as e: told = str(e)\ntold"
    told = play(source, answers={"pay_order": 1}).output
    assert told.startswith("pay_order(): the argument order")
    assert durable.run_to_end(service.start_execution(source, ["pay_order"])) == told


def test_people_take_any_arguments(durable, service):
    source = "await approve('a', *['second'])"
    assert play(source, answers={"approve": 7}).output == 7
    durable.fake("approve", side_effect=lambda *given: len(given))
    assert durable.run_to_end(service.start_execution(source, ["approve"])) == 2
