use super::*;

fn record() -> Record {
    serde_json::from_str(
        r#"{"run_id":"0199f00c-5e2a-7c3b-8d4e-5f60718293a4","state":"failed","success":false,"reason":"upstream_status",
        "async":true,"dialect":"cerebrium","route":"app","name":"/run","method":"POST","path":"/run",
        "accepted_at":"2026-11-21T12:00:00.123Z","started_at":"2026-11-21T12:00:00.126Z",
        "finished_at":"2026-11-21T12:00:02.128Z","queued_ms":3,"duration_ms":2002,"attempts":2,"grace_period_s":900,
        "response":{"status":500,"content_type":"text/\u001b[2J","bytes":27},
        "delivery":{"state":"pending","host":"hooks.example.com","attempts":1,"last_status":503,"last_error":null,
          "next_attempt_at":"2026-11-21T12:00:07.000Z","attempts_log":[
            {"attempt":1,"started_at":"2026-11-21T12:00:02.130Z","duration_ms":40,"address":"192.0.2.1:443","status":503,
             "error":null,"detail":"the receiver answered 503 Service Unavailable","answer":"busy","next_attempt_at":null}]},
        "attempts_log":[
          {"attempt":1,"started_at":"2026-11-21T12:00:00.126Z","duration_ms":0,"outcome":"unsent","status":null},
          {"attempt":2,"started_at":"2026-11-21T12:00:01.126Z","duration_ms":1002,"outcome":"answered","status":500}]}"#,
    )
    .unwrap()
}

fn at(width: Option<usize>) -> String {
    let terminal = Terminal {
        width,
        shown: true,
        colours: false,
    };
    render(&record(), &terminal)
}

#[test]
fn a_record_is_shown_with_each_attempt() {
    let whole = [
        r"run       0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
        r"state     failed (upstream_status 500)",
        r"request   POST /run",
        r"route     app",
        r"dialect   cerebrium, asynchronous",
        r"accepted  2026-11-21T12:00:00.123Z",
        r"started   2026-11-21T12:00:00.126Z, queued for 3 ms",
        r"finished  2026-11-21T12:00:02.128Z, took 2.0 s",
        r"grace     15m for the application to answer",
        r"response  500 text/\u{1b}[2J, 27 bytes",
        r"webhook   pending to hooks.example.com, attempts 1, last status 503, next at 2026-11-21T12:00:07.000Z",
        r"",
        r"attempts",
        r"  #  STARTED                   TOOK   OUTCOME   STATUS",
        r"  1  2026-11-21T12:00:00.126Z  0 ms   unsent",
        r"  2  2026-11-21T12:00:01.126Z  1.0 s  answered  500",
        r"",
        r"webhook attempts",
        r"  #  STARTED                   TOOK   STATUS  ADDRESS        DETAIL",
        r"  1  2026-11-21T12:00:02.130Z  40 ms  503     192.0.2.1:443  the receiver answered 503 Service Unavailable",
    ];
    assert_eq!(at(None).lines().collect::<Vec<_>>(), whole);
}

#[test]
fn a_narrow_terminal_leaves_out_what_matters_least() {
    let shown = at(Some(40));
    let attempts: Vec<_> = shown.lines().skip(11).collect();
    assert_eq!(
        attempts,
        [
            r"",
            r"attempts",
            r"  #  OUTCOME   STATUS",
            r"  1  unsent",
            r"  2  answered  500",
            r"",
            r"webhook attempts",
            r"  #  STATUS  DETAIL",
            r"  1  503     the receiver answered 503 …",
        ]
    );
}

#[test]
fn an_unfinished_run_says_what_is_not_yet() {
    let run = Record {
        state: "queued".to_owned(),
        ..Record::default()
    };
    let shown = render(
        &run,
        &Terminal {
            width: None,
            shown: true,
            colours: false,
        },
    );
    assert!(
        shown.contains("started   not yet\n") && shown.contains("finished  not yet\n"),
        "{shown}"
    );
    assert!(!shown.contains("attempts"), "{shown}");
}
