//! Whom we trust, and what we show of ourselves: registries with certificates of all kinds.

use std::path::Path;

use zuwai_oci::registry::{ClientCertificate, TlsRoots};
use zuwai_oci::{Family, OciError, Registry, RegistryOptions};
use zuwai_testkit::certificates::{Certificates, Kind};
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::nginx::Nginx;
use zuwai_testkit::registry::RegistryOptions as Real;

use crate::sample::{empty_store, image, impatient, reference};

fn trusting(registry: &str, authority: &Path) -> RegistryOptions {
    let mut options = RegistryOptions { retry: impatient(), ..RegistryOptions::default() };
    let roots = TlsRoots::default().with_file(authority).unwrap();
    options.registry_roots.insert(registry.to_owned(), roots);
    options
}

fn certified(mut options: RegistryOptions, registry: &str, certificates: &Certificates) -> Registry {
    let (certificate, key) = certificates.client();
    let own = ClientCertificate::load(&certificate, &key).unwrap();
    options.client_certificates.insert(registry.to_owned(), own);
    Registry::new(options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrys_certificate_is_trusted_for_it_alone() {
    if !needs(REGISTRY) {
        return;
    }
    for kind in [Kind::Good, Kind::SelfSigned] {
        let (named, other) = (Real::plain().tls_as(kind).start(), Real::plain().tls_as(kind).start());
        let client = Registry::new(trusting(&named.address(), named.authority().unwrap())).unwrap();
        let sample = image(Family::Oci, "trusted");
        client.push(&sample.image, &sample.store, &reference(&named.reference("t/x:1"))).await.unwrap();
        let pushed = client.push(&sample.image, &sample.store, &reference(&other.reference("t/x:1"))).await;
        let error = pushed.unwrap_err();
        assert!(matches!(error.root(), OciError::Certificate { .. }), "{kind:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_certificate_has_its_hint() {
    if !needs(REGISTRY) {
        return;
    }
    for (kind, known, expected) in [
        (Kind::Good, false, "--registry-certificate="),
        (Kind::SelfSigned, false, "--registry-certificate="),
        (Kind::Expired, true, "has expired"),
        (Kind::OtherName, true, "not for the name"),
    ] {
        let real = Real::plain().tls_as(kind).start();
        let options = match known {
            true => trusting(&real.address(), real.authority().unwrap()),
            false => RegistryOptions { retry: impatient(), ..RegistryOptions::default() },
        };
        let client = Registry::new(options).unwrap();
        let error = client.manifest(&reference(&real.reference("t/x:1"))).await.unwrap_err();
        assert!(matches!(error.root(), OciError::Certificate { .. }), "{kind:?}: {error:?}");
        let hint = error.hint().unwrap();
        assert!(hint.contains(expected) && hint.contains(&real.address()), "{kind:?}: {hint}");
        assert!(hint.contains("--skip-tls-verify-registry"), "{kind:?}: {hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_lets_us_in() {
    if !needs(REGISTRY) || !needs(&[Need::Program("nginx")]) {
        return;
    }
    let real = Real::plain().client_certificates().start();
    let behind = Real::plain().start();
    let scratch = tempfile::tempdir().unwrap();
    let own = Certificates::make(scratch.path());
    let verify = format!("ssl_client_certificate {}; ssl_verify_client on;", own.authority.display());
    let front = Nginx::before_with_tls(&behind.url(), &own, &verify, "");
    for (address, certificates) in [(real.address(), real.certificates().unwrap()), (front.address(), &own)] {
        let sample = image(Family::Oci, "certified");
        let name = reference(&format!("{address}/t/x:1"));
        let trusting = || trusting(&address, &certificates.authority);

        let error = Registry::new(trusting()).unwrap().manifest(&name).await.unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("--registry-client-cert") && hint.contains(&address), "{error:?}: {hint}");

        let client = certified(trusting(), &address, certificates);
        client.push(&sample.image, &sample.store, &name).await.unwrap();
        let found = client.resolve(&name, &"linux/amd64".parse().unwrap()).await.unwrap();
        assert_eq!(found.digest, sample.image.digest());

        let careless =
            RegistryOptions { skip_tls_verify_pull: true, retry: impatient(), ..Default::default() };
        let client = certified(careless, &address, certificates);
        client.resolve(&name, &"linux/amd64".parse().unwrap()).await.unwrap();
    }
}

/// The blobs are on another host, which answers 403 to whoever shows a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_not_shown_to_whom_we_are_redirected() {
    if !needs(REGISTRY) || !needs(&[Need::Program("nginx")]) {
        return;
    }
    let real = Real::plain().start();
    let scratch = tempfile::tempdir().unwrap();
    let own = Certificates::make(scratch.path());
    let shy = "ssl_verify_client optional_no_ca;";
    let storage = Nginx::before_with_tls(&real.url(), &own, shy, "if ($ssl_client_serial) { return 403; }");
    let verify = format!(
        "ssl_client_certificate {}; ssl_verify_client on;
         location ~ ^/v2/.*/blobs/sha256: {{ return 307 https://{}$request_uri; }}",
        own.authority.display(),
        storage.address()
    );
    let front = Nginx::before_with_tls(&real.url(), &own, &verify, "");
    let sample = image(Family::Oci, "redirected");
    let plain = crate::sample::client();
    plain.push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();

    let name = reference(&front.reference("t/x:1"));
    let layer = &sample.image.layers()[0];
    let client = certified(trusting(&front.address(), &own.authority), &front.address(), &own);
    let (_directory, store) = empty_store();
    client.fetch_blob(&name, layer, &store).await.unwrap();

    // Who names the other host for a certificate has it shown there.
    let mut options = trusting(&front.address(), &own.authority);
    let (certificate, key) = own.client();
    let shown = ClientCertificate::load(&certificate, &key).unwrap();
    options.registry_roots.insert(storage.address(), TlsRoots::default().with_file(&own.authority).unwrap());
    options.client_certificates.insert(storage.address(), shown);
    let (_directory, store) = empty_store();
    let error =
        certified(options, &front.address(), &own).fetch_blob(&name, layer, &store).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Denied { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_unless_it_is_not_wanted() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().tls().start();
    for (http1_only, spoken) in [(false, "HTTP/2.0"), (true, "HTTP/1.1")] {
        let options = trusting(&real.address(), real.authority().unwrap());
        let client = Registry::new(RegistryOptions { http1_only, ..options }).unwrap();
        let error = client.manifest(&reference(&real.reference("t/none:1"))).await.unwrap_err();
        assert!(error.is_not_found(), "{error:?}");
        let log = real.access_log();
        assert!(log.lines().last().unwrap().contains(spoken), "{log}");
    }
}

#[test]
fn certificate_files_that_are_not_what_they_should_be_are_named() {
    if !needs(&[Need::Program("openssl")]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let own = Certificates::make(directory.path());
    let (certificate, key) = own.client();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("odd"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(path("sealed"), sealed).unwrap();
    for (certificate, key, named, expected) in [
        (&certificate, &own.key, &own.key, "does not belong"),
        (&certificate, &path("empty"), &path("empty"), "no PEM private key"),
        (&certificate, &path("sealed"), &path("sealed"), "encrypted"),
        (&path("empty"), &key, &path("empty"), "no PEM certificate"),
        (&path("odd"), &key, &path("odd"), "not PEM"),
        (&path("missing"), &key, &path("missing"), "cannot"),
        (&certificate, &path("missing"), &path("missing"), "cannot"),
    ] {
        let message = ClientCertificate::load(certificate, key).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(&named.display().to_string()), "{message}");
    }
    assert!(TlsRoots::default().with_file(&path("empty")).is_err());
    assert!(!format!("{:?}", ClientCertificate::load(&certificate, &key).unwrap()).contains("BEGIN"));
}
