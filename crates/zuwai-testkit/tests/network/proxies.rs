//! A build behind a forward proxy. `0.0.0.0` is this machine and no loopback address, so that it is proxied.

use zuwai_testkit::base::Base;
use zuwai_testkit::forward_proxy::{FORWARD_PROXY, ForwardProxy, PASSWORD};
use zuwai_testkit::need::needs;
use zuwai_testkit::registry::{Registry, RegistryOptions};
use zuwai_testkit::zuwai;

use crate::{executor, folder, ready};

#[test]
fn a_build_pulls_and_pushes_through_a_proxy_with_a_password() {
    if !ready() || !needs(FORWARD_PROXY) {
        return;
    }
    let proxy = ForwardProxy::start();
    let unusable = format!("the proxy {} cannot be used", proxy.address());
    for (registry, asked, refused) in [
        // The proxy's own page stands in the place of the registry's answer.
        (Registry::plain(), "GET http://", "The administrator of this proxy"),
        (RegistryOptions::plain().tls().start(), "CONNECT ", unusable.as_str()),
    ] {
        Base::Busybox.push(&registry);
        let host = format!("0.0.0.0:{}", registry.port());
        let dir = folder(&format!("FROM {host}/busybox\nCOPY file /file\n"));
        let reached = match registry.authority() {
            // The certificate is for other names than this one.
            Some(_) => format!("--skip-tls-verify-registry={host}"),
            None => format!("--insecure-registry={host}"),
        };
        let build = |tag: &str, password: &str, no_proxy: &str| {
            let mut command = zuwai::zuwai();
            let url = proxy.url(password);
            command.env("HTTP_PROXY", &url).env("https_proxy", &url).env("NO_PROXY", no_proxy);
            let flags = [reached.clone(), format!("--destination={host}/out:{tag}")];
            executor(&mut command, dir.path(), &flags)
        };
        let finished = build("1", PASSWORD, "");
        assert_eq!(finished.code, 0, "{}", finished.all());
        let requests = proxy.requests();
        let of_host = |request: &String| request.starts_with(asked) && request.contains(&host);
        assert!(requests.iter().any(of_host), "{requests:#?}");
        registry.fetch("out:1", &dir.path().join("fetched"));

        let finished = build("2", PASSWORD, &host);
        assert_eq!(finished.code, 0, "{}", finished.all());
        assert_eq!(proxy.requests(), requests, "past the proxy");

        let finished = build("3", "hunter2", "");
        assert_eq!(finished.code, 1, "{}", finished.all());
        let said = finished.all();
        assert!(said.contains(refused), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
