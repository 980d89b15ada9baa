//! Ports: reserved for a node from its placing to its removal, over restarts, without a moment in which somebody else could be given them.
//!
//! A TCP port is held by a socket that is bound and never listens, with `SO_REUSEADDR`. Linux lets another socket with that option bind and listen there - the runtimes that servers are written on all set it - and gives the port to nobody who asks for any free one, be it by `bind` to port 0 or by `connect`. So nothing has to be released for the node to start, and two harnesses cannot be given one port.
//! The socket is bound *before* it gets the option, so that it never shares a port with a socket of somebody else, other holders included.
//!
//! A UDP port cannot be held like that, since datagrams would go to either socket. It is released right before the node starts and taken again when it has ended; what happens to be bound in between is found as a taken port.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Mutex, PoisonError},
};

use socket2::{Domain, Protocol, Socket, Type};
use trellis_bootstrap::Transport;

/// Where ports are reserved.
#[derive(Debug)]
pub(crate) struct PortPool {
    host: IpAddr,
    range: Option<RangeInclusive<u16>>,
    /// How many of the range were tried so far; goes round, so that a port that was just given up is the last to be given again.
    tried: Mutex<usize>,
}

impl PortPool {
    pub(crate) fn new(host: IpAddr, range: Option<RangeInclusive<u16>>) -> Self {
        Self {
            host,
            range,
            tried: Mutex::new(0),
        }
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.host
    }

    /// Reserves one port that nobody else has.
    ///
    /// # Errors
    /// In words: which ports were tried and what to change.
    pub(crate) fn reserve(&self, transport: Transport) -> Result<HeldPort, String> {
        match &self.range {
            None => HeldPort::bind(self.host, 0, transport).map_err(|error| {
                format!(
                    "the system gives none at {} ({error}); check the address, and net.ipv4.ip_local_port_range",
                    self.host
                )
            }),
            Some(range) => self.reserve_in(range, transport),
        }
    }

    fn reserve_in(
        &self,
        range: &RangeInclusive<u16>,
        transport: Transport,
    ) -> Result<HeldPort, String> {
        let mut refusal = "the range is empty".to_owned();
        for _ in range.clone() {
            match HeldPort::bind(self.host, self.next_in(range), transport) {
                Ok(port) => return Ok(port),
                Err(error) => refusal = error.to_string(),
            }
        }
        Err(format!(
            "none of {}-{} is free at {} ({refusal}); configure a wider range, or none",
            range.start(),
            range.end(),
            self.host
        ))
    }

    fn next_in(&self, range: &RangeInclusive<u16>) -> u16 {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = *tried % range.len();
        *tried += 1;
        range
            .clone()
            .nth(offset)
            .expect("the offset is below the length of the range")
    }
}

/// A port that is reserved until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldPort {
    address: SocketAddr,
    transport: Transport,
    /// `None` for a UDP port that the node has now.
    holder: Option<Socket>,
}

impl HeldPort {
    fn bind(host: IpAddr, port: u16, transport: Transport) -> io::Result<Self> {
        let socket = socket(host, transport)?;
        socket.bind(&SocketAddr::new(host, port).into())?;
        if transport == Transport::Tcp {
            socket.set_reuse_address(true)?;
        }
        let address = socket
            .local_addr()?
            .as_socket()
            .expect("the socket was made for an IP address");
        Ok(Self {
            address,
            transport,
            holder: Some(socket),
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// Makes room for the node, where holding would be in its way.
    pub(crate) fn hand_over(&mut self) {
        if self.transport == Transport::Udp {
            self.holder = None;
        }
    }

    /// Takes the port back after the node has ended. Says whether somebody else uses it.
    ///
    /// It asks the kernel, not the node's log: it tries what the node would have to do.
    pub(crate) fn take_back(&mut self) -> bool {
        let (host, number) = (self.address.ip(), self.number());
        match (self.transport, &self.holder) {
            (Transport::Tcp, _) => is_in_use(try_to_bind(self.address)),
            (Transport::Udp, Some(_)) => false,
            (Transport::Udp, None) => {
                let held = Self::bind(host, number, Transport::Udp).map(|port| *self = port);
                is_in_use(held)
            }
        }
    }
}

fn socket(host: IpAddr, transport: Transport) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(host, 0));
    match transport {
        Transport::Tcp => Socket::new(domain, Type::STREAM, Some(Protocol::TCP)),
        Transport::Udp => Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)),
    }
}

/// Binds as a server would, which a listener makes impossible.
///
/// It does not listen: a process that is just being started elsewhere holds copies of our sockets until it runs its program, and a listening copy would be in the node's way.
fn try_to_bind(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address.ip(), Transport::Tcp)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn is_in_use(attempt: io::Result<()>) -> bool {
    attempt.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests;
