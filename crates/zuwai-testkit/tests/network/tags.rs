//! Tags that a registry does not let anybody move (`--push-ignore-immutable-tag-errors`).

use zuwai_testkit::fault_registry::{Fault, FaultRegistry, Operation};
use zuwai_testkit::zuwai;

use crate::{executor, folder, ready};

/// Amazon ECR's words.
const REFUSAL: Fault = Fault::Refusal(
    400,
    "TAG_INVALID",
    "The image tag '1' already exists in the 'out' repository and cannot be overwritten because the tag is immutable.",
);

#[test]
fn an_immutable_tag_is_an_error_unless_it_is_this_image_or_the_user_says_so() {
    if !ready() {
        return;
    }
    let registry = FaultRegistry::start();
    let destination = format!("--destination={}", registry.reference("out:1"));
    let dir = folder("FROM scratch\nCOPY file /file\nLABEL one=1\n");
    let push = |dockerfile: &str, more: &[&str]| {
        std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
        let mut flags = vec![destination.clone(), "--build-arg=SOURCE_DATE_EPOCH=1".to_owned()];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        executor(&mut zuwai::zuwai(), dir.path(), &flags)
    };
    let (first, other) = ("FROM scratch\nCOPY file /file\n", "FROM scratch\nCOPY file /other\n");
    assert_eq!(push(first, &[]).code, 0);
    let manifest = registry.manifest("out", "1").unwrap();
    registry.fault(Operation::ManifestPut, REFUSAL).always();

    for (dockerfile, flags, code, said) in [
        (other, &[][..], 1, "immutable"),
        (other, &["--push-ignore-immutable-tag-errors"], 0, "Immutable tag error ignored"),
        (first, &[], 0, "names this image already"),
        (first, &["--push-ignore-immutable-tag-errors"], 0, "names this image already"),
    ] {
        let finished = push(dockerfile, flags);
        assert_eq!(finished.code, code, "{dockerfile} {flags:?}: {}", finished.all());
        assert!(finished.all().contains(said), "{dockerfile} {flags:?}: {}", finished.all());
        assert_eq!(registry.manifest("out", "1").as_ref(), Some(&manifest), "the tag has not moved");
    }
    // No other refusal is ignored.
    registry.mend();
    registry
        .fault(Operation::ManifestPut, Fault::Refusal(400, "MANIFEST_INVALID", "manifest invalid"))
        .always();
    assert_eq!(push(other, &["--push-ignore-immutable-tag-errors"]).code, 1);
}
