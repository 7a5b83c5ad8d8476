"""Every case of the corpus over real gRPC in both header encodings: one process, a gateway for each case."""

from collections.abc import Iterator

import grpc
import pytest

from cases.build import gateway
from cases.corpus import Case, cases
from cases.messages import FORMS, Form, check_request, read, set_headers, upstream
from doors.door import Served, call, channel, serving

CASES = cases()


@pytest.fixture(scope="module")
def served(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    del engine  # it is chosen
    gateways = {case.gateway_id: case.gateway for case in CASES}
    gateways["hosted"] = gateway(hosts=["gateway.example.com", "*.claw.example.com"])
    with serving(tmp_path_factory.mktemp("corpus"), {"gateways": gateways}) as running:
        yield running


@pytest.fixture(scope="module")
def opened(served: Served) -> Iterator[grpc.Channel]:
    with channel(served.address) as found:
        yield found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_over_grpc(opened: grpc.Channel, case: Case, form: Form) -> None:
    hosts = [value for name, value in case.pairs if name.lower() == "host"]
    pairs = [pair for pair in case.pairs if pair[0].lower() != "host"]
    message = check_request(pairs, form=form, gateway=case.gateway_id, peer=case.peer, host=hosts[0] if hosts else "")
    outcome = read(call(opened, message))
    expected = case.exact if form == "raw" else case.joined
    assert outcome.passes == expected.allowed
    if expected.allowed:
        assert expected.user is not None
        arrived = upstream(outcome.response, pairs)
        for name, value in (("x-authz-user", expected.user), ("x-authz-gateway", case.gateway_id)):
            assert [found for key, found in arrived if key == name] == [value]
    else:
        assert outcome.reason == expected.reason
        assert outcome.status == (401 if expected.reason == "trusted_proxy_user_missing" else 403)
        assert set_headers(outcome.response)["x-authz-reason"] == expected.reason


@pytest.mark.parametrize(
    ("named", "host", "selected"),
    [
        (None, "GATEWAY.example.com:8443", "hosted"),
        (None, "a.claw.example.com", "hosted"),
        (None, "other.example.com", ""),
        ("unknown", "gateway.example.com", ""),
        ("", "gateway.example.com", ""),
    ],
)
def test_gateway_is_selected_over_grpc(opened: grpc.Channel, named: str | None, host: str, selected: str) -> None:
    outcome = read(call(opened, check_request([], gateway=named, host=host)))
    assert outcome.response.dynamic_metadata.fields["gateway"].string_value == selected
    assert (outcome.reason == "gateway_unknown") == (not selected)


def test_incomplete_gateways_are_logged_as_errors_at_the_start(served: Served) -> None:
    errors = [line["path"] for line in served.logged() if line["level"] == "error"]
    wanted = {
        case.gateway_id
        for case in CASES
        if case.exact.reason in {"trusted_proxy_config_missing", "trusted_proxy_no_proxies_configured"}
    }
    assert wanted
    assert {path.split(".")[1] for path in errors} >= wanted
