//! What an upstream sees of the way that a request came.

use super::*;

fn request(lines: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in lines {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn values(request: &RequestHeader, name: &str) -> Vec<String> {
    let values = request.headers.get_all(name).iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

fn sender(address: &str, tls: bool) -> Sender {
    Sender {
        address: Some(address.parse().unwrap()),
        tls,
    }
}

#[test]
fn a_stranger_cannot_say_where_it_comes_from() {
    let mut request = request(&[
        ("Host", "one.example"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "bank.example"),
    ]);
    forward(&mut request, sender("192.0.2.7:5000", false), &[]).unwrap();
    assert_eq!(values(&request, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&request, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&request, "x-forwarded-host"), ["one.example"]);
}

#[test]
fn a_trusted_proxy_is_believed_and_appended() {
    let trusted = ["192.0.2.0/24".parse().unwrap()];
    let mut request = request(&[
        ("Host", "inner"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("X-Forwarded-For", "2.2.2.2, 3.3.3.3"),
        ("X-Forwarded-Host", "one.example"),
    ]);
    forward(
        &mut request,
        sender("[::ffff:192.0.2.7]:5000", true),
        &trusted,
    )
    .unwrap();
    assert_eq!(
        values(&request, "x-forwarded-for"),
        ["1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"]
    );
    assert_eq!(values(&request, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&request, "x-forwarded-host"), ["one.example"]);
}

#[test]
fn headers_in_our_name_are_taken_out_both_ways() {
    let mut asked = request(&[
        ("Raincheck-Run-Id", "x"),
        ("raincheck-A", "y"),
        ("Rain", "z"),
    ]);
    strip_request(&mut asked);
    assert_eq!(asked.headers.len(), 1);
    let mut answered = ResponseHeader::build(200, None).unwrap();
    answered.append_header("Raincheck-Error", "x").unwrap();
    answered.append_header("Raincheck-Error", "y").unwrap();
    answered.append_header("Server", "z").unwrap();
    strip_response(&mut answered);
    assert_eq!(answered.headers.len(), 1);
}
