//! A base with a layer that may not be redistributed, which its registry does not have.

use serde_json::{Value, json};
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{must_run, program};
use zuwai_testkit::fault_registry::{FaultRegistry, Operation};
use zuwai_testkit::zuwai;

use crate::{built, folder, ready};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The descriptor of the layer.
fn foreign(digest: &str) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "digest": digest,
        "size": 1000, "urls": ["https://example.com/layer"],
    })
}

#[test]
fn it_stays_where_it_is_and_archives_say_where() {
    if !ready() {
        return;
    }
    let registry = FaultRegistry::start();
    let diff_id = format!("sha256:{}", "2".repeat(64));
    let layer = foreign(&format!("sha256:{}", "1".repeat(64)));
    let config = json!({"os": "linux", "architecture": zuwai_testkit::base::architecture(), "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    .to_string();
    let place = scratch("config");
    let file = place.path().join("config");
    std::fs::write(&file, &config).unwrap();
    let digest = registry.put_blob("base", &file);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest,
            "size": config.len()}});
    registry.put_manifest("base", Some("1"), MANIFEST, manifest.to_string().as_bytes());

    let dir = folder(&format!("FROM {}\nLABEL a=b\n", registry.reference("base:1")));
    let [archive, layout] = ["image.tar", "layout"].map(|name| dir.path().join(name));
    built(
        dir.path(),
        &[
            "--no-push".to_owned(),
            format!("--tar-path={}", archive.display()),
            format!("--oci-layout-path={}", layout.display()),
        ],
    );
    assert!(!registry.log().iter().any(|logged| logged.head.path().contains(&"1".repeat(64))));
    let listed = must_run(program("tar").arg("-tf").arg(&archive));
    assert!(!listed.contains("tar.gz"), "{listed}");
    let document = must_run(program("tar").arg("-xOf").arg(&archive).arg("manifest.json"));
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document[0]["LayerSources"], json!({diff_id.as_str(): layer}));

    for source in [&archive, &layout] {
        let mut push = zuwai::zuwai();
        push.args(["push", "-q"]).arg(source).arg(registry.reference("out:1"));
        must_run(push.arg("--root-dir").arg(dir.path().join("state")));
        let pushed: Value = serde_json::from_slice(&registry.manifest("out", "1").unwrap()).unwrap();
        assert_eq!(pushed["layers"], json!([layer]), "{}", source.display());
    }
    assert_eq!(registry.count(Operation::BlobGet), 1, "the config alone: {:#?}", registry.log());
}
