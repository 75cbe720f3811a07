//! A large blob to and from a real registry, over connections that are cut five times on the way.

use std::time::Duration;

use zuwai_oci::{Descriptor, MediaType, Registry, RegistryOptions};
use zuwai_testkit::need::{REGISTRY, needs};
use zuwai_testkit::registry::RegistryOptions as Real;
use zuwai_testkit::tcp_fault::{Cut, TcpFault, Way, Weather};

use crate::sample::{empty_store, impatient, noise, reference};

/// The blob, and after how much of it each connection is cut.
const SIZE: usize = 64 << 20;
const PIECE: u64 = 9 << 20;
const CUTS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_survives_five_cuts_in_either_direction() {
    if !needs(REGISTRY) {
        return;
    }
    let bytes = noise(SIZE);
    let blob = Descriptor::of(MediaType::OciLayer, &bytes);
    let (_directory, store) = empty_store();
    store.put_bytes(&bytes).unwrap();
    drop(bytes);
    for how in [Cut::Reset, Cut::Close, Cut::Stall] {
        let real = Real::plain().start();
        let proxy = TcpFault::start(real.address().parse().unwrap());
        let name = reference(&format!("{}/t/x:1", proxy.address()));

        cut(&proxy, Way::Up, how);
        let pushed = client().push_blob(&name, &blob, &store, None).await;
        assert!(pushed.is_ok(), "{pushed:?}\n{:#?}", real.requests());
        assert_eq!(proxy.cuts(), CUTS, "pushing, {how:?}");

        cut(&proxy, Way::Down, how);
        let (_directory, fetched) = empty_store();
        client().fetch_blob(&name, &blob, &fetched).await.unwrap();
        assert_eq!(proxy.cuts(), CUTS, "pulling, {how:?}");
        assert_eq!(fetched.size(&blob.digest), Some(blob.size));
        let resumed = real.requests().iter().filter(|request| request.ends_with(" 206")).count();
        assert_eq!(resumed, CUTS as usize, "what had come was not asked for again: {:#?}", real.requests());
    }
}

fn cut(proxy: &TcpFault, way: Way, how: Cut) {
    proxy.set(Weather { cut: Some((way, PIECE, how)), cuts: CUTS, ..Weather::default() });
}

/// As many attempts as there are by default, though distribution forgets an upload whose request broke ("upload resumed at
/// wrong offset"): a connection that carried much before it broke does not count as a registry that is away.
fn client() -> Registry {
    let stall_timeout = Duration::from_millis(600);
    let options = RegistryOptions { retry: impatient(), stall_timeout, ..RegistryOptions::default() };
    Registry::new(options).unwrap()
}
