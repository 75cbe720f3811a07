//! What a cell of the matrix needs: a registry with an image or without, a client, and what the client is to do.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::OnceLock;
use std::time::Duration;

use zuwai_oci::credentials::{Credential, Credentials};
use zuwai_oci::error::OciError;
use zuwai_oci::registry::RetryPolicy;
use zuwai_oci::{Descriptor, Digest, Family, Index, Platform, Reference, Registry, RegistryOptions, Secret};
use zuwai_testkit::fault_registry::{Fault, FaultRegistry, Lifetime, Operation, Rule};
use zuwai_testkit::registry::{PASSWORD, USER};

use crate::sample::{Sample, empty_store, image_with, reference};

/// What a client does, and which of its requests goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Resolving a tag: its manifest.
    Tag,
    /// Resolving a digest: its manifest.
    Digest,
    /// Resolving an index: the manifest beneath it.
    Inner,
    /// Resolving an index: the image's config.
    Config,
    /// Resolving a tag: the token for it.
    Token,
    /// Resolving a tag: whether a registry is there at all.
    Ping,
    /// Downloading a blob.
    Blob,
    /// Downloading a blob that is read while it comes.
    Reader,
    /// Checking whether a push would be allowed.
    Check,
    /// Pushing: whether a blob is there.
    Head,
    /// Pushing: beginning an upload.
    Start,
    /// Pushing: sending a large blob.
    Patch,
    /// Pushing: asking how much of a large blob has come, after its connection was cut.
    Status,
    /// Pushing: ending the upload of a large blob.
    Commit,
    /// Pushing: sending a small blob with the end of its upload.
    Put,
    /// Pushing: mounting a blob from another repository.
    Mount,
    /// Pushing: the manifest.
    Manifest,
}

pub const PULLS: [Column; 8] = [
    Column::Tag,
    Column::Digest,
    Column::Inner,
    Column::Config,
    Column::Token,
    Column::Ping,
    Column::Blob,
    Column::Reader,
];
pub const PUSHES: [Column; 9] = [
    Column::Check,
    Column::Head,
    Column::Start,
    Column::Patch,
    Column::Status,
    Column::Commit,
    Column::Put,
    Column::Mount,
    Column::Manifest,
];

/// The image of all cells: a small layer and one that is sent in more than one request.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| image_with(Family::Oci, "matrix", 2_500_000))
}

fn small() -> &'static Descriptor {
    &sample().image.layers()[0]
}

fn large() -> &'static Descriptor {
    &sample().image.layers()[1]
}

/// Where pulls find the image, where it is mounted from, and where it is pushed to.
const SOURCE: &str = "from/base";
const TARGET: &str = "to/app";

/// A registry that wants tokens, with the image and an index of it in one repository.
pub fn registry() -> (FaultRegistry, Digest) {
    registry_with(Lifetime::LONG)
}

/// The same, with tokens that end.
pub fn registry_with(lifetime: Lifetime) -> (FaultRegistry, Digest) {
    let (registry, sample) = (FaultRegistry::bearer(lifetime), sample());
    let image = &sample.image;
    for blob in image.layers().iter().chain([&image.manifest().config]) {
        registry.put_blob(SOURCE, &sample.store.blob_path(&blob.digest));
    }
    registry.put_manifest(SOURCE, Some("1"), image.media_type().as_str(), image.manifest_bytes());
    let platform = Some(Platform::parse("linux/amd64").unwrap());
    let index = Index::new(Family::Oci, vec![Descriptor { platform, ..image.descriptor() }]);
    let bytes = index.to_bytes().unwrap();
    registry.put_manifest(SOURCE, Some("multi"), Family::Oci.index().as_str(), &bytes);
    (registry, Digest::of(&bytes))
}

/// A client that knows the registry's user and is in a hurry.
pub fn client(registry: &FaultRegistry, uploads: usize) -> Registry {
    let mut credentials = Credentials::default();
    let basic = Credential::Basic { username: USER.to_owned(), password: Secret::new(PASSWORD) };
    credentials.insert(&registry.address(), basic);
    let first_delay = Duration::from_millis(5);
    let retry = RetryPolicy { pull: 2, push: 2, first_delay, longest_delay: Duration::from_secs(5) };
    let stall_timeout = Duration::from_millis(500);
    Registry::new(RegistryOptions {
        credentials,
        retry,
        stall_timeout,
        uploads,
        ..RegistryOptions::default()
    })
    .unwrap()
}

impl Column {
    pub fn is_push(self) -> bool {
        PUSHES.contains(&self)
    }

    /// Orders the faults of a row for this column's request.
    pub fn order(self, registry: &FaultRegistry, faults: &[(Fault, u64)]) -> Vec<Rule> {
        let config = sample().image.manifest().config.digest.to_string();
        let manifest = sample().image.digest().to_string();
        let hex = |blob: &Descriptor| blob.digest.to_string().replace("sha256:", "");
        let (operation, of) = match self {
            Self::Tag => (Operation::ManifestGet, "/1".to_owned()),
            Self::Digest | Self::Inner => (Operation::ManifestGet, manifest),
            Self::Config => (Operation::BlobGet, config),
            Self::Token => (Operation::Token, String::new()),
            Self::Ping => (Operation::Ping, String::new()),
            Self::Blob | Self::Reader => (Operation::BlobGet, hex(large())),
            Self::Head => (Operation::BlobHead, hex(large())),
            Self::Check | Self::Start => (Operation::UploadStart, String::new()),
            Self::Patch => (Operation::UploadPatch, String::new()),
            Self::Status => {
                let cut = Fault::CutRequest { after: 1_000_000, keep: 700_000 };
                registry.fault(Operation::UploadPatch, cut);
                (Operation::UploadStatus, String::new())
            }
            Self::Commit => (Operation::UploadCommit, hex(large())),
            Self::Put => (Operation::UploadCommit, hex(small())),
            Self::Mount => (Operation::Mount, hex(large())),
            Self::Manifest => (Operation::ManifestPut, String::new()),
        };
        let order =
            |(fault, times): &(Fault, u64)| registry.fault(operation, fault.clone()).times(*times).of(&of);
        faults.iter().map(order).collect()
    }

    /// Does what the column is about, and checks what came of it.
    pub async fn carry_out(
        self,
        registry: &FaultRegistry,
        client: Registry,
        index: Digest,
    ) -> Result<(), OciError> {
        let image = &sample().image;
        let from = |tag: &str| reference(&registry.reference(&format!("{SOURCE}:{tag}")));
        let resolve = async |reference: Reference, expected: Digest| {
            let found = client.resolve(&reference, &Platform::parse("linux/amd64").unwrap()).await?;
            assert_eq!((found.digest, found.image.digest()), (expected, image.digest()));
            assert_eq!(found.image.config_bytes(), image.config_bytes());
            Ok(())
        };
        match self {
            Self::Tag | Self::Token | Self::Ping => resolve(from("1"), image.digest()).await,
            Self::Digest => resolve(from("1").with_digest(image.digest()), image.digest()).await,
            Self::Inner | Self::Config => resolve(from("multi"), index).await,
            Self::Blob | Self::Reader => download(&client, &from("1"), self == Self::Reader).await,
            Self::Check => client.check_push_permission(&target(registry)).await,
            _ => {
                let mut image = image.clone();
                if self == Self::Mount {
                    let origin = |layer: &Descriptor| (layer.digest, from("1"));
                    image.origins = image.layers().iter().map(origin).collect();
                }
                client.push(&image, &sample().store, &target(registry)).await?;
                assert_eq!(registry.manifest(TARGET, "1").as_deref(), Some(image.manifest_bytes()));
                Ok(())
            }
        }
    }
}

fn target(registry: &FaultRegistry) -> Reference {
    reference(&registry.reference(&format!("{TARGET}:1")))
}

/// Fetches the large blob into an empty store.
async fn download(client: &Registry, from: &Reference, read: bool) -> Result<(), OciError> {
    let (_directory, store) = empty_store();
    let download = client.download(from, large(), &store);
    let mut reader = download.reader();
    let reading = read.then(|| {
        tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| Digest::of(&bytes))
        })
    });
    let outcome = download.wait().await;
    if let Some(reading) = reading {
        let read = reading.await.unwrap();
        // What had to be fetched a second time has spoilt what was read of the first.
        let spoilt = download.damage().filter(|_| outcome.is_ok());
        let same = read.is_ok() == (outcome.is_ok() && spoilt.is_none());
        assert!(same, "reader and waiter are told the same: {read:?} {outcome:?}");
        assert!(read.is_err() || read.unwrap() == large().digest, "the reader read something else");
        if let Some(damage) = spoilt {
            assert!(store.contains(&large().digest));
            return Err(damage);
        }
    }
    assert_eq!(store.contains(&large().digest), outcome.is_ok());
    outcome
}

/// What a push that is begun again sends: what the registry has not, and nothing else.
pub async fn push_again(registry: &FaultRegistry) -> Result<(), String> {
    registry.settle();
    let before = registry.blobs(TARGET);
    registry.mend();
    registry.forget_log();
    let pushed = client(registry, 4).push(&sample().image, &sample().store, &target(registry)).await;
    pushed.map_err(|error| format!("the second push failed: {error:?}"))?;
    let log = registry.log();
    let committed = log.iter().filter(|entry| entry.operation == Some(Operation::UploadCommit));
    let sent: BTreeSet<String> = committed.filter_map(|entry| entry.head.query_field("digest")).collect();
    let image = &sample().image;
    let all = image.layers().iter().chain([&image.manifest().config]);
    let missing: BTreeSet<String> =
        all.map(|blob| blob.digest.to_string()).filter(|digest| !before.contains(digest)).collect();
    let begun = registry.count(Operation::UploadStart);
    if sent != missing || begun != missing.len() {
        return Err(format!(
            "the second push began {begun} uploads and sent {sent:?}, missing was {missing:?}"
        ));
    }
    Ok(())
}
