//! Look-ups of names: nobody waits for the look-up of another name, and all who want one name wait for one look-up.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Finds the addresses of a name and a port.
pub(super) type Lookup = Arc<dyn Fn(String, u16) -> Found + Send + Sync>;

/// What [`Lookup`] returns.
pub(super) type Found = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// At a time, each of another name. Each takes a thread of its own until it ends, however long ago its attempts were
/// given up: the system's resolver blocks.
const MOST: usize = 1024;
/// For the system's resolver and its modules.
const STACK: usize = 512 * 1024;

/// Our own fault, not the receiver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotLookedUp {
    /// The cap is reached.
    #[error("{MOST} names are being looked up already; are the name servers of this machine slow?")]
    TooMany,
    /// The system gave no thread, or it ended in the middle.
    #[error("there is no thread to look the name up")]
    NoThread,
}

/// By the system: its hosts file, its name servers.
pub(super) fn system() -> Lookup {
    let under_way = UnderWay::new(MOST, |name| {
        let found = (name, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    });
    Arc::new(move |name, port| {
        let addresses = under_way.of(name);
        Box::pin(async move {
            let addresses = addresses.map_err(io::Error::other)?.await;
            let addresses = addresses.map_err(|error| io::Error::new(error.kind(), error))?;
            Ok(addresses.into_iter().map(|ip| (ip, port).into()).collect())
        })
    })
}

/// The addresses of a name, for all who wait for them.
type Addresses = Shared<BoxFuture<'static, Result<Vec<IpAddr>, Arc<io::Error>>>>;

/// The look-ups that are under way, by name. Clones are the same.
#[derive(Clone)]
struct UnderWay {
    by_name: Arc<Mutex<HashMap<String, Addresses>>>,
    most: usize,
    look: Arc<Look>,
}

/// Looks a name up, and blocks while it does.
type Look = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

impl UnderWay {
    fn new(
        most: usize,
        look: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            by_name: Arc::default(),
            most,
            look: Arc::new(look),
        }
    }

    fn of(&self, name: String) -> Result<Addresses, NotLookedUp> {
        let (tell, told) = oneshot::channel();
        let addresses = async move {
            let found = told.await;
            let found = found.unwrap_or_else(|_| Err(io::Error::other(NotLookedUp::NoThread)));
            found.map_err(Arc::new)
        };
        let addresses = addresses.boxed().shared();
        {
            let mut by_name = self.by_name.lock();
            if let Some(addresses) = by_name.get(&name) {
                return Ok(addresses.clone());
            }
            if by_name.len() >= self.most {
                return Err(NotLookedUp::TooMany);
            }
            by_name.insert(name.clone(), addresses.clone());
        }
        self.begin(name, tell);
        Ok(addresses)
    }

    fn begin(&self, name: String, tell: oneshot::Sender<io::Result<Vec<IpAddr>>>) {
        let forget = Forget {
            under_way: self.clone(),
            name,
        };
        let look = move || {
            let found = (forget.under_way.look)(&forget.name);
            drop(forget);
            // Nobody may wait any more.
            let _ = tell.send(found);
        };
        let thread = thread::Builder::new()
            .name("look-up".to_owned())
            .stack_size(STACK)
            .spawn(look);
        if let Err(error) = thread {
            // Who waits is told by the end of `tell`.
            tracing::error!(%error, "no thread can be started to look a name up");
        }
    }
}

/// Takes a look-up out of those that are under way, however it ends.
struct Forget {
    under_way: UnderWay,
    name: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.under_way.by_name.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Look-ups that wait until they are told to end; each reports its name as it begins.
    fn gated(most: usize) -> (UnderWay, mpsc::Receiver<String>, mpsc::Sender<()>) {
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let ends = Mutex::new(ends);
        let under_way = UnderWay::new(most, move |name| {
            begun.send(name.to_owned()).unwrap();
            if name == "quick.example" {
                return Ok(vec![[8, 8, 4, 4].into()]);
            }
            ends.lock().recv().map_err(io::Error::other)?;
            Ok(vec![[8, 8, 8, 8].into()])
        });
        (under_way, begins, end)
    }

    fn of(under_way: &UnderWay, name: &str) -> Addresses {
        under_way.of(name.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn all_who_want_one_name_wait_for_one_look_up() {
        let (under_way, begins, end) = gated(8);
        let waiting = [(); 3].map(|()| of(&under_way, "a.example"));
        assert_eq!(begins.recv().unwrap(), "a.example");
        end.send(()).unwrap();
        for addresses in waiting {
            assert_eq!(addresses.await.unwrap(), [IpAddr::from([8, 8, 8, 8])]);
        }
        assert!(begins.try_recv().is_err());
        let later = of(&under_way, "a.example");
        end.send(()).unwrap();
        assert!(later.await.is_ok(), "an answer is not kept");
        assert_eq!(begins.recv().unwrap(), "a.example");
    }

    #[tokio::test]
    async fn nobody_waits_for_the_look_up_of_another_name() {
        let (under_way, _begins, _end) = gated(8);
        for name in ["a.example", "b.example", "c.example"] {
            drop(of(&under_way, name));
        }
        assert!(of(&under_way, "quick.example").await.is_ok());
    }

    #[tokio::test]
    async fn over_the_cap_no_other_name_is_looked_up() {
        let (under_way, _begins, end) = gated(1);
        let first = of(&under_way, "a.example");
        let other = under_way.of("b.example".to_owned());
        assert_eq!(other.unwrap_err(), NotLookedUp::TooMany);
        let same = of(&under_way, "a.example");
        end.send(()).unwrap();
        assert_eq!(first.await.unwrap(), same.await.unwrap());
        assert!(under_way.of("quick.example".to_owned()).is_ok());
    }

    #[tokio::test]
    async fn a_look_up_that_dies_is_our_own_fault_and_is_forgotten() {
        let under_way = UnderWay::new(8, |_| panic!("of the test"));
        let error = of(&under_way, "a.example").await.unwrap_err();
        let cause = error.get_ref().unwrap().downcast_ref::<NotLookedUp>();
        assert_eq!(cause, Some(&NotLookedUp::NoThread));
        assert!(under_way.by_name.lock().is_empty());
    }
}
