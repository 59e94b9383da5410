use super::*;
use crate::model::record::{Delivery, Response};

const NOW: Timestamp = Timestamp::from_millis(1_795_262_400_000);

fn runs() -> Vec<Record> {
    let ended = Record {
        run_id: "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".to_owned(),
        state: "failed".to_owned(),
        success: Some(false),
        reason: Some("upstream_status".to_owned()),
        asynchronous: true,
        dialect: "cerebrium".to_owned(),
        route: "app".to_owned(),
        name: "/reports/of/the/whole/year".to_owned(),
        method: "POST".to_owned(),
        accepted_at: Some(NOW.before(std::time::Duration::from_millis(185_400))),
        duration_ms: Some(2002),
        attempts: 1,
        response: Some(Response {
            status: 500,
            ..Response::default()
        }),
        delivery: Some(Delivery {
            state: "dead".to_owned(),
            ..Delivery::default()
        }),
        ..Record::default()
    };
    let running = Record {
        state: "running".to_owned(),
        success: None,
        reason: None,
        asynchronous: false,
        name: "/\x1b[2J".to_owned(),
        duration_ms: None,
        response: None,
        delivery: None,
        ..ended.clone()
    };
    vec![ended, running]
}

fn at(width: Option<usize>) -> String {
    let terminal = Terminal {
        width,
        shown: true,
        colours: false,
    };
    render(&runs(), NOW, &terminal)
}

fn lines(text: String) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn two_hundred_columns_show_everything() {
    let everything = [
        r"RUN                                   STATE    REASON           STATUS  AGE  ACCEPTED              TOOK   ATTEMPTS  ROUTE  DIALECT           REQUEST                          WEBHOOK",
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4  failed   upstream_status  500     3m   2026-11-21T11:56:54Z  2.0 s  1         app    cerebrium         POST /reports/of/the/whole/year  dead",
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4  running                           3m   2026-11-21T11:56:54Z         1         app    cerebrium (sync)  POST /\u{1b}[2J",
    ];
    assert_eq!(lines(at(Some(200))), everything);
    assert_eq!(lines(at(None)), everything);
}

#[test]
fn eighty_columns_show_what_matters_most() {
    let most = [
        r"RUN                                   STATE    STATUS  AGE  TOOK   REQUEST",
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4  failed   500     3m   2.0 s  POST /report…",
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4  running          3m          POST /\u{1b}…",
    ];
    assert_eq!(lines(at(Some(80))), most);
}

#[test]
fn forty_columns_show_two_lines_for_each_run() {
    let stacked = [
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
        r"  failed  3m  POST /reports/of/the/whol…",
        r"0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
        r"  running  3m  POST /\u{1b}[2J",
    ];
    assert_eq!(lines(at(Some(40))), stacked);
}

#[test]
fn an_id_is_never_shortened() {
    for width in 1..250 {
        assert_eq!(
            at(Some(width))
                .matches("0199f00c-5e2a-7c3b-8d4e-5f60718293a4")
                .count(),
            2
        );
    }
}
