//! The yardstick: a proxy of bare Pingora 0.9.1 with one peer, its defaults, and as many threads as ours.

use async_trait::async_trait;
use pingora::{
    prelude::*,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::configuration::ServerConf,
};

struct Bare {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

/// Serves on `address` for `peer` until the process is killed.
pub(crate) fn serve(address: &str, peer: &str, threads: usize) {
    let conf = ServerConf {
        threads,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let bare = Bare {
        peer: HttpPeer::new(peer, false, String::new()),
    };
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_tcp(address);
    server.add_service(service);
    server.run_forever();
}
