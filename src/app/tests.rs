//! A proxy in this process, from its first socket to its last.

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// A configuration on free ports, in front of an application at `upstream`.
fn config(folder: &TempDir, upstream: SocketAddr, listener: &str) -> Config {
    let text = format!(
        r#"
            [server]
            threads = 1
            drain_timeout = "20s"
            [[listener]]
            address = "{listener}"
            [admin]
            address = "127.0.0.1:0"
            [store]
            path = {:?}
            [upstream.app]
            peers = ["{upstream}"]
            [[route]]
            path = "/app"
            upstream = "app"
            [route.async]
        "#,
        folder.path().join("data")
    );
    Config::read(&text, std::path::Path::new("test.toml")).unwrap()
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn an_idle_proxy_starts_answers_and_is_gone() {
    let folder = TempDir::new().unwrap();
    let nobody = "127.0.0.1:1".parse().unwrap();
    let running = start(config(&folder, nobody, "127.0.0.1:0")).await.unwrap();
    let (public, admin) = (running.listeners()[0], running.admin());
    assert!(
        ask(admin, &get("/readyz"))
            .await
            .starts_with("HTTP/1.1 200")
    );
    let answer = ask(public, &get("/elsewhere")).await;
    assert!(
        answer.contains("Raincheck-Error: no-route")
            || answer.contains("raincheck-error: no-route"),
        "{answer}"
    );
    let answer = ask(public, &get("/app")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    running.stop().await;
    assert!(TcpStream::connect(public).await.is_err());
    assert!(TcpStream::connect(admin).await.is_err());
    // The store was given back: it can be opened again.
    let again = start(config(&folder, nobody, "127.0.0.1:0")).await.unwrap();
    again.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_the_listeners_have_closed() {
    let folder = TempDir::new().unwrap();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = application.local_addr().unwrap();
    let running = start(config(&folder, upstream, "127.0.0.1:0"))
        .await
        .unwrap();
    let (public, admin) = (running.listeners()[0], running.admin());
    let request = get("/app");
    let asked = ask(public, &request);
    let rest = async {
        let (mut accepted, _) = application.accept().await.unwrap();
        let readiness = Arc::clone(&running.readiness);
        let answered = async {
            // Drains, listens no more, and still tells so.
            while readiness.is_ready() || TcpStream::connect(public).await.is_ok() {
                tokio::task::yield_now().await;
            }
            assert!(
                ask(admin, &get("/readyz"))
                    .await
                    .starts_with("HTTP/1.1 503")
            );
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
            accepted.write_all(answer).await.unwrap();
        };
        tokio::join!(running.stop(), answered);
    };
    let (answer, ()) = tokio::join!(asked, rest);
    assert!(answer.ends_with("late"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_at_once_that_names_it() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let elsewhere = "127.0.0.1:1".parse().unwrap();
    let started = start(config(&folder, elsewhere, &address.to_string())).await;
    let error = started.err().unwrap();
    assert!(matches!(error, StartError::Bind(_)));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
