//! A TCP proxy in front of a real server that cuts, delays and slows what goes through it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use crate::fault_registry::Cut;

/// Which way the bytes go that a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server: uploads.
    Up,
    /// From the server to the client: downloads.
    Down,
}

/// What happens to connections. Without anything, bytes pass as they come.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// Connections end so after this many bytes in this direction.
    pub cut: Option<(Way, u64, Cut)>,
    /// How many connections are cut; the next ones pass. Those that end before they have carried so much do not count.
    pub cuts: u64,
    /// Only each so-many-th connection is cut; 0 and 1 mean each.
    pub every: u64,
    /// Time that each piece waits, both ways.
    pub delay: Duration,
    /// Most bytes a second and connection in each direction.
    pub rate: Option<u64>,
}

/// A running proxy; it ends when dropped.
#[derive(Debug)]
pub struct TcpFault {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    weather: Mutex<Weather>,
    connections: AtomicU64,
    cuts: AtomicU64,
    closed: AtomicBool,
}

impl TcpFault {
    /// Starts one in front of `server`, in fair weather.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            weather: Mutex::default(),
            connections: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let _ = accepting.connect(client);
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes the weather for connections from now on, and counts cuts anew.
    pub fn set(&self, weather: Weather) {
        self.shared.cuts.store(0, Ordering::SeqCst);
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// How many connections were cut since the weather changed.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for TcpFault {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // The listener's thread waits for a connection to see it.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Shared {
    /// Lets two threads carry a connection's bytes.
    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let weather = self.weather.lock().unwrap().clone();
        let is_hit = number.is_multiple_of(weather.every.max(1));
        for (way, from, to) in [
            (Way::Up, client.try_clone()?, server.try_clone()?),
            (Way::Down, server.try_clone()?, client.try_clone()?),
        ] {
            let limit = weather.cut.filter(|(own, ..)| is_hit && *own == way);
            let pump = Pump { limit, weather: weather.clone(), client: client.try_clone()?, from, to };
            let shared = self.clone();
            std::thread::spawn(move || {
                // How a connection ended is its ends' to tell.
                let _ = pump.carry(&shared);
            });
        }
        Ok(())
    }
}

/// One direction of one connection.
struct Pump {
    limit: Option<(Way, u64, Cut)>,
    weather: Weather,
    client: TcpStream,
    from: TcpStream,
    to: TcpStream,
}

impl Pump {
    fn carry(mut self, shared: &Shared) -> io::Result<()> {
        let mut piece = vec![0; 16 << 10];
        let mut carried = 0;
        loop {
            let read = self.from.read(&mut piece)?;
            if read == 0 {
                return self.to.shutdown(Shutdown::Write);
            }
            std::thread::sleep(self.weather.delay);
            let left = self.limit.map_or(u64::MAX, |(_, limit, _)| limit - carried);
            let length = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.to.write_all(&piece[..length])?;
            carried += length as u64;
            if let Some(rate) = self.weather.rate {
                std::thread::sleep(Duration::from_secs_f64(length as f64 / rate as f64));
            }
            if let Some((_, limit, how)) = self.limit
                && carried == limit
            {
                // The others of this weather have been cut already: this one passes.
                let mine = shared.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |cuts| {
                    (cuts < self.weather.cuts).then_some(cuts + 1)
                });
                if mine.is_ok() {
                    return self.cut(how);
                }
                self.limit = None;
                self.to.write_all(&piece[length..read])?;
            }
        }
    }

    /// Ends the connection for both; the server sees an end, whatever the client sees.
    fn cut(&mut self, how: Cut) -> io::Result<()> {
        match how {
            Cut::Reset => {
                // A reset throws away what is still to be sent: what was carried shall arrive first.
                std::thread::sleep(Duration::from_millis(20));
                // Closing would reset only when the other direction's thread has closed as well; this does at once.
                rustix::net::connect_unspec(&self.client)?;
            }
            Cut::Close => {}
            Cut::Stall => {
                let mut rest = [0; 4096];
                while self.client.read(&mut rest).is_ok_and(|read| read > 0) {}
            }
        }
        // The other direction's thread ends with this one. What is closed already says so.
        let _ = self.to.shutdown(Shutdown::Both);
        let _ = self.from.shutdown(Shutdown::Both);
        Ok(())
    }
}
