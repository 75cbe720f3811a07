//! Registries behind a real forward proxy. `0.0.0.0` is this machine and no loopback address, so that it is proxied.

use zuwai_oci::registry::Proxies;
use zuwai_oci::{Family, OciError, Registry, RegistryOptions};
use zuwai_testkit::forward_proxy::{FORWARD_PROXY, ForwardProxy, PASSWORD};
use zuwai_testkit::need::{REGISTRY, needs};
use zuwai_testkit::registry::RegistryOptions as Real;

use crate::sample::{image, impatient, reference};

fn through(proxy: &str, no_proxy: &str, registry: &str) -> Registry {
    let mut options = RegistryOptions {
        proxies: Proxies::new(proxy, proxy, no_proxy).unwrap(),
        retry: impatient(),
        ..RegistryOptions::default()
    };
    options.insecure_registries.insert(registry.to_owned());
    options.skip_tls_verify_registries.insert(registry.to_owned());
    Registry::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_are_reached_through_a_proxy_with_a_password() {
    if !needs(REGISTRY) || !needs(FORWARD_PROXY) {
        return;
    }
    let proxy = ForwardProxy::start();
    for (real, asked) in
        [(Real::plain().start(), "GET http://"), (Real::plain().tls().start(), "CONNECT 0.0.0.0:")]
    {
        let host = format!("0.0.0.0:{}", real.port());
        let sample = image(Family::Oci, "proxied");
        let name = reference(&format!("{host}/t/x:1"));
        let client = through(&proxy.url(PASSWORD), "", &host);
        client.push(&sample.image, &sample.store, &name).await.unwrap();
        let found = client.resolve(&name, &"linux/amd64".parse().unwrap()).await.unwrap();
        assert_eq!(found.digest, sample.image.digest());
        let before = proxy.requests();
        let of_host = |request: &&String| request.starts_with(asked) && request.contains(&host);
        assert!(before.iter().any(|request| of_host(&request)), "{before:#?}");

        for direct in
            [through(&proxy.url(PASSWORD), &format!("x.example, {host}"), &host), through("", "", &host)]
        {
            direct.resolve(&name, &"linux/amd64".parse().unwrap()).await.unwrap();
        }
        let loopback = reference(&real.reference("t/x:1"));
        let own = through(&proxy.url(PASSWORD), "", &real.address());
        own.resolve(&loopback, &"linux/amd64".parse().unwrap()).await.unwrap();
        assert_eq!(proxy.requests(), before, "these go past the proxy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    if !needs(REGISTRY) || !needs(FORWARD_PROXY) {
        return;
    }
    let proxy = ForwardProxy::start();
    for real in [Real::plain().start(), Real::plain().tls().start()] {
        let host = format!("0.0.0.0:{}", real.port());
        let name = reference(&format!("{host}/t/x:1"));
        let unknown = through(&format!("http://{}", proxy.address()), "", &host);
        let error = unknown.manifest(&name).await.unwrap_err();
        assert!(matches!(error.root(), OciError::Proxy { wants_password: true, .. }), "{error:?}");
        assert!(error.to_string().contains(&proxy.address()), "{error}");
        assert!(error.to_string().contains("407"), "{error}");
        assert!(error.hint().unwrap().contains("USER:PASSWORD"), "{:?}", error.hint());
        // tinyproxy answers a wrong password with 401.
        let error = through(&proxy.url("hunter2"), "", &host).manifest(&name).await.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(real.requests(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_is_named() {
    let client = through("http://127.0.0.1:1", "", "0.0.0.0:2");
    let error = client.manifest(&reference("0.0.0.0:2/t/x:1")).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Proxy { wants_password: false, .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(error.hint().unwrap().contains("NO_PROXY"), "{:?}", error.hint());
}
