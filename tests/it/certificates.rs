//! Receivers behind TLS: whose certificates are taken, and whose are not.

use std::{
    io::{BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

use crate::harness::{Ask, Server, Setup, encoded, read_body, read_head};

/// A certificate authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A receiver that answers 204 over TLS, with a certificate for `name` that ends in the year `until`.
    fn receiver(&self, name: &str, until: i32) -> SocketAddr {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("params");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("config");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tls = ServerConnection::new(Arc::clone(&config)).expect("connection");
                let mut stream = BufReader::new(StreamOwned::new(tls, stream));
                let Ok((_, headers)) = read_head(&mut stream) else {
                    continue;
                };
                let _ = read_body(&mut stream, &headers, false);
                let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                let _ = stream.get_mut().write_all(answer);
            }
        });
        address
    }
}

#[test]
fn only_a_certificate_for_this_name_of_a_known_authority_and_in_its_time_is_taken() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let upstream = Server::fixed(200, "");
    let setup = Setup::new(&upstream).set("webhook.schedule", vec!["0s"]);
    let file = setup.folder().join("authorities.pem");
    std::fs::write(&file, &known.pem).expect("write");
    let proxy = setup
        .env("SSL_CERT_FILE", file.to_str().expect("path"))
        .start();
    let right = known.receiver("127.0.0.1", 2100);
    let by_name = known.receiver("localhost", 2100);
    for (host, address, error) in [
        ("127.0.0.1", right, None),
        ("localhost", by_name, None),
        ("127.0.0.1", by_name, Some("tls")),
        ("localhost", right, Some("tls")),
        (
            "localhost",
            known.receiver("*.localhost", 2100),
            Some("tls"),
        ),
        ("127.0.0.1", known.receiver("127.0.0.1", 2021), Some("tls")),
        (
            "127.0.0.1",
            unknown.receiver("127.0.0.1", 2100),
            Some("tls"),
        ),
    ] {
        let url = encoded(&format!("https://{host}:{}/", address.port()));
        let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
        let record = proxy.delivered(&run);
        let told = record["delivery"]["last_error"].as_str();
        assert_eq!(told, error, "{host} {record}");
        assert_eq!(record["delivery"]["last_status"].is_null(), error.is_some());
    }
}
