//! Raincheck in a Pingora proxy of one's own: `cargo run --example embed -- 127.0.0.1:8080 127.0.0.1:8000 data`, then
//! `curl -i -H 'X-Key: open' 'http://127.0.0.1:8080/slow?async=true'`.

use std::{env, error::Error, net::SocketAddr};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    proxy::{ProxyHttp, Session},
    server::{RunArgs, Server},
    upstreams::peer::HttpPeer,
};
use raincheck::{Raincheck, config::Config};

/// A proxy with one peer, which lets nobody in without a key.
struct MyProxy {
    peer: SocketAddr,
    raincheck: Raincheck,
}

#[async_trait]
impl ProxyHttp for MyProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> pingora::Result<bool> {
        // A run's own pass was let in when the run was accepted.
        let key = session.req_header().headers.get("x-key");
        if !Raincheck::is_run(session) && key.is_none_or(|key| key != "open") {
            let text = Bytes::from_static(b"X-Key is missing or wrong\n");
            session.respond_error_with_body(401, text).await?;
            return Ok(true);
        }
        self.raincheck.request_filter(session, "api").await
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.peer, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let mut word = |default: &str| words.next().unwrap_or_else(|| default.to_owned());
    let (address, peer) = (word("127.0.0.1:8080"), word("127.0.0.1:8000").parse()?);
    let text = format!(
        "[store]\npath = \"{}\"\n[[route]]\nname = \"api\"\n[route.async]\n",
        word("raincheck-data")
    );
    let config = Config::embedded(&text).map_err(|complaints| format!("{complaints:#?}"))?;

    let mut server = Server::new(None)?;
    server.bootstrap();
    let raincheck = Raincheck::open(&config)?;
    let mut service = raincheck.attach(
        &mut server,
        MyProxy {
            peer,
            raincheck: raincheck.clone(),
        },
    );
    service.add_tcp(&address);
    server.add_service(service);
    server.run(RunArgs::default());
    Ok(())
}
