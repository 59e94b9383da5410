//! What the trigger check costs on a request that asks for nothing, with every dialect switched on.

use std::{hint::black_box, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use raincheck::{
    config::Config,
    gate::trigger::{Asked, asked},
    model::dialect::Head,
};

const CALLS: u32 = 1_000_000;
const ROUNDS: usize = 9;

/// A browser's request to a shop, with a long query and a cookie; it prefers something, but no run.
const LINES: [(&str, &str); 14] = [
    ("host", "shop.example"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/search?q=rain+coat"),
    ("connection", "keep-alive"),
    (
        "cookie",
        "session=8f14e45fceea167a5a36dedd4bea2543; consent=1; cart=3f2a",
    ),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=0, i"),
    ("prefer", "handling=lenient, return=minimal"),
    (
        "if-none-match",
        "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
    ),
];

const TARGET: &str = "/products/rain-coats?colour=blue&size=m&sort=price&page=2&asc=true&utm_source=news\
                      &utm_medium=mail&q=rain%20coat&async_images=true&_=1732500000000";

/// Prints the nanoseconds of one check.
pub(crate) fn measure() {
    let text = "[[route]]\nname = \"shop\"\n[route.async]\n\
        dialects = [\"cerebrium\", \"ubidots\", \"prefer\", \"openfaas\"]\n";
    let config = Config::embedded(text).expect("the configuration is right");
    let settings = config.routes[0].run.as_ref().expect("the route has runs");
    let headers: HeaderMap = LINES
        .into_iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let head = Head {
        method: &Method::GET,
        target: TARGET.as_bytes(),
        headers: &headers,
    };
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                let asked = asked(black_box(&head), black_box(settings));
                assert!(matches!(asked, Ok(Asked::Nothing)));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "trigger check, 4 dialects, {} header lines, 10 parameters: median {:.0} ns a call, from {:.0} to {:.0} \
         (goal ≤ 1000), load {}",
        LINES.len(),
        rounds[ROUNDS / 2],
        rounds[0],
        rounds[ROUNDS - 1],
        crate::process::machine_load()
    );
}
