//! Whole builds in bad weather.

use std::collections::BTreeSet;

use zuwai_testkit::fault_registry::{Fault, FaultRegistry, Lifetime, Operation, RetryAfter};
use zuwai_testkit::zuwai;

use crate::{credentials, executor, folder, ready, seed};

/// What a build does with a registry that it pulls from and pushes to.
const OPERATIONS: [Operation; 8] = [
    Operation::Ping,
    Operation::ManifestHead,
    Operation::ManifestGet,
    Operation::BlobHead,
    Operation::BlobGet,
    Operation::UploadStart,
    Operation::UploadPatch,
    Operation::UploadCommit,
];

/// A refusal that is over soon: its Retry-After keeps the test short.
fn unavailable() -> Fault {
    Fault::Later(503, RetryAfter::Seconds(0))
}

#[test]
fn a_registry_that_is_not_there_for_the_first_requests_costs_no_build() {
    if !ready() {
        return;
    }
    let registry = FaultRegistry::start();
    seed(&registry, "base:1");
    let dir = folder(&format!("FROM {}\nCOPY file /file\nRUN cat /file\n", registry.reference("base:1")));
    let mut rules: Vec<_> =
        OPERATIONS.into_iter().map(|operation| registry.fault(operation, unavailable()).times(2)).collect();
    rules.push(registry.fault(Operation::ManifestPut, unavailable()).times(2));
    let flags = [format!("--destination={}", registry.reference("new/out:1"))];
    let finished = executor(&mut zuwai::zuwai(), dir.path(), &flags);
    assert_eq!(finished.code, 0, "{}", finished.all());
    assert!(registry.manifest("new/out", "1").is_some());
    let happened: u64 = rules.iter().map(zuwai_testkit::fault_registry::Rule::happened).sum();
    assert!(happened >= 8, "{:#?}", registry.log());
}

/// Side by side, since there is a pause before every attempt.
#[test]
fn push_retry_raises_how_often_a_push_is_tried() {
    if !ready() {
        return;
    }
    std::thread::scope(|scope| {
        for (flag, code) in [("--push-retry=1", 1), ("--push-retry=5", 0)] {
            scope.spawn(move || {
                let registry = FaultRegistry::start();
                let rule = registry.fault(Operation::ManifestPut, unavailable()).times(5);
                let dir = folder("FROM scratch\nCOPY file /file\n");
                let flags = [format!("--destination={}", registry.reference("out:1")), flag.to_owned()];
                let finished = executor(&mut zuwai::zuwai(), dir.path(), &flags);
                assert_eq!(finished.code, code, "{flag}: {}", finished.all());
                assert_eq!(rule.happened(), 5, "{flag}: {:#?}", registry.log());
            });
        }
    });
}

/// Every token ends after three requests, whatever they are for, so that new ones are needed while the build runs.
#[test]
fn tokens_that_end_in_mid_build_are_asked_for_again() {
    if !ready() {
        return;
    }
    let registry = FaultRegistry::bearer(Lifetime::Requests(3));
    seed(&registry, "base:1");
    let dir = folder(&format!(
        "FROM {}\nCOPY file /file\nRUN cat /file > /a\nRUN cat /file > /b\n",
        registry.reference("base:1")
    ));
    let config = credentials(&[&registry]);
    let flags = [format!("--destination={}", registry.reference("new/out:1"))];
    let mut command = zuwai::zuwai();
    let finished = executor(command.env("DOCKER_CONFIG", config.path()), dir.path(), &flags);
    assert_eq!(finished.code, 0, "{}", finished.all());
    let manifest: serde_json::Value =
        serde_json::from_slice(&registry.manifest("new/out", "1").unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let there = registry.blobs("new/out");
    let named: BTreeSet<_> = layers.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    assert!(named.iter().all(|digest| there.contains(*digest)), "{there:?}");
    assert!(registry.count(Operation::Token) > 3, "{:#?}", registry.log());
}
