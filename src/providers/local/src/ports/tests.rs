//! What the kernel promises about a port that is bound and not listened on, each promise tried.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::Barrier,
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::forks;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Outside what Linux gives out by itself, and small, so that the threads below get into each other's way.
const CROWDED: RangeInclusive<u16> = 23_100..=23_199;

fn any() -> PortPool {
    PortPool::new(HOST, None)
}

fn tcp() -> HeldPort {
    any().reserve(Transport::Tcp).unwrap()
}

#[test]
fn a_server_listens_on_a_held_port_again_and_again() {
    let _none = forks::none();
    let port = tcp();
    for _ in 0..50 {
        let server = TcpListener::bind(port.address).unwrap();
        let client = TcpStream::connect(port.address).unwrap();
        // The server closes first, which leaves its side in TIME_WAIT.
        drop((server.accept().unwrap(), server));
        drop(client);
    }
}

#[test]
fn a_client_is_refused_while_nobody_listens() {
    let refused = TcpStream::connect(tcp().address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_listener_is_found_and_its_absence_too() {
    let _none = forks::none();
    let mut port = tcp();
    assert!(!port.take_back());
    let listener = TcpListener::bind(port.address).unwrap();
    assert!(port.take_back());
    drop(listener);
    let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).unwrap();
    assert!(port.take_back());
    drop(everywhere);
    assert!(!port.take_back());
}

#[test]
fn whoever_asks_for_any_port_is_not_given_a_held_one() {
    let held: Vec<HeldPort> = (0..200).map(|_| tcp()).collect();
    let held: BTreeSet<u16> = held
        .iter()
        .map(HeldPort::number)
        .zip(&held)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(held.len(), 200);
    let server = TcpListener::bind((HOST, 0)).unwrap();
    let mut open = Vec::new();
    // More than the distance between neighbours, so that a kernel which ignored them would hit some.
    for _ in 0..2000 {
        let reusing = socket(HOST, Transport::Tcp).unwrap();
        reusing.set_reuse_address(true).unwrap();
        reusing.bind(&SocketAddr::new(HOST, 0).into()).unwrap();
        let bound = reusing.local_addr().unwrap().as_socket().unwrap();
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let accepted = server.accept().unwrap();
        for given in [bound.port(), client.local_addr().unwrap().port()] {
            assert!(!held.contains(&given), "{given} was given out twice");
        }
        open.push(reusing);
        drop((client, accepted));
    }
}

/// Every thread reserves, lets a server listen, and gives up, in one narrow range and against the system's choice.
fn crowd(transport: Transport) {
    let _none = forks::none();
    let everyone = Barrier::new(8);
    let reserved = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for number in 0..8 {
            let (everyone, reserved) = (&everyone, &reserved);
            scope.spawn(move || {
                // Each its own pool, as parallel harnesses would have.
                let pool = PortPool::new(HOST, (number % 2 == 0).then_some(CROWDED));
                everyone.wait();
                for _ in 0..300 {
                    let mut port = pool.reserve(transport).unwrap();
                    assert!(
                        reserved.lock().unwrap().insert(port.number()),
                        "{} has two holders",
                        port.number()
                    );
                    if transport == Transport::Tcp {
                        assert!(!port.take_back(), "{} is listened on", port.number());
                        drop(TcpListener::bind(port.address).unwrap());
                    }
                    reserved.lock().unwrap().remove(&port.number());
                    drop(port);
                }
            });
        }
    });
}

#[test]
fn holders_in_parallel_never_share_a_tcp_port() {
    crowd(Transport::Tcp);
}

#[test]
fn holders_in_parallel_never_share_a_udp_port() {
    crowd(Transport::Udp);
}

#[test]
fn a_range_that_is_used_up_says_so() {
    let pool = PortPool::new(HOST, Some(23_200..=23_202));
    let _all: Vec<HeldPort> = (0..3)
        .map(|_| pool.reserve(Transport::Tcp).unwrap())
        .collect();
    let error = pool.reserve(Transport::Tcp).unwrap_err();
    assert!(
        error.starts_with("none of 23200-23202 is free at 127.0.0.1"),
        "{error}"
    );
    let other = PortPool::new(HOST, Some(23_200..=23_202));
    other.reserve(Transport::Tcp).unwrap_err();
}

#[test]
fn an_address_that_is_not_of_this_machine_says_so() {
    let error = PortPool::new("192.0.2.1".parse().unwrap(), None).reserve(Transport::Tcp);
    assert!(error.unwrap_err().contains("192.0.2.1"));
}

#[test]
fn a_udp_port_is_free_for_the_node_and_held_again_after_it() {
    let _none = forks::none();
    let mut port = any().reserve(Transport::Udp).unwrap();
    UdpSocket::bind(port.address).unwrap_err();
    port.hand_over();
    let node = UdpSocket::bind(port.address).unwrap();
    assert!(port.take_back());
    drop(node);
    assert!(!port.take_back());
    UdpSocket::bind(port.address).unwrap_err();
}

proptest! {
    #[test]
    fn no_two_holders_share_a_port(steps in proptest::collection::vec((any_step(), 0usize..8), 1..60)) {
        let _none = forks::none();
        let pools = [
            PortPool::new(HOST, Some(23_210..=23_219)),
            PortPool::new(HOST, Some(23_214..=23_222)),
            any(),
        ];
        let mut held: Vec<HeldPort> = Vec::new();
        for (step, which) in steps {
            match step {
                Step::Reserve => held.extend(pools[which % 3].reserve(Transport::Tcp)),
                Step::GiveUp if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                Step::Serve if !held.is_empty() => {
                    let port = &held[which % held.len()];
                    prop_assert!(TcpListener::bind(port.address).is_ok());
                }
                _ => {}
            }
            let distinct: BTreeSet<u16> = held.iter().map(HeldPort::number).collect();
            prop_assert_eq!(distinct.len(), held.len());
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve,
    GiveUp,
    Serve,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Reserve), Just(Step::GiveUp), Just(Step::Serve)]
}
