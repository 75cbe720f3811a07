//! Collecting a package's documents, whoever reads them: each is asked for once, and stands after those it names.

use std::collections::BTreeSet;

use zuwai_layer::Digest;

use super::{Package, is_document};
use crate::descriptor::Descriptor;
use crate::error::FormatError;
use crate::manifest::{Document, RawManifest};

/// An index may name an index, but not without end.
pub(crate) const DEPTH_LIMIT: usize = 4;
/// Most documents of one package: a name with more is no image's. Docker's official images have up to 30.
const DOCUMENT_LIMIT: usize = 1024;

/// A package that is not whole yet. [`Gathering::wanted`] says what to read next, [`Gathering::add`] takes it.
pub(crate) struct Gathering {
    /// From the top to the index that is looked through, with the place in each.
    path: Vec<(RawManifest, usize)>,
    done: Vec<RawManifest>,
    seen: BTreeSet<Digest>,
}

impl Gathering {
    pub(crate) fn new(top: RawManifest) -> Self {
        Self { seen: BTreeSet::from([top.digest]), path: vec![(top, 0)], done: Vec::new() }
    }

    /// The next document that is missing; none when the package is whole.
    pub(crate) fn wanted(&mut self) -> Result<Option<Descriptor>, FormatError> {
        loop {
            let depth = self.path.len();
            let Some((raw, next)) = self.path.last_mut() else { return Ok(None) };
            let entry = match &raw.document {
                Document::Index(index) => index.manifests.get(*next),
                Document::Manifest(_) => None,
            };
            match entry {
                Some(entry) => {
                    *next += 1;
                    if !is_document(entry) || !self.seen.insert(entry.digest) {
                        continue;
                    }
                    if depth > DEPTH_LIMIT {
                        return Err(FormatError::TooDeep { limit: DEPTH_LIMIT });
                    }
                    if self.seen.len() > DOCUMENT_LIMIT {
                        return Err(FormatError::TooManyManifests { limit: DOCUMENT_LIMIT });
                    }
                    return Ok(Some(entry.clone()));
                }
                None if depth == 1 => return Ok(None),
                None => self.done.extend(self.path.pop().map(|(raw, _)| raw)),
            }
        }
    }

    /// Takes what was wanted.
    pub(crate) fn add(&mut self, document: RawManifest) {
        self.path.push((document, 0));
    }

    /// The package; to be called when nothing is wanted any more.
    pub(crate) fn finish(mut self) -> Option<Package> {
        let (top, _) = self.path.pop()?;
        Some(Package { below: self.done, top })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::{Index, Manifest};
    use crate::media_type::{Family, MediaType};

    fn manifest(name: &str) -> RawManifest {
        let config = Descriptor::of(MediaType::OciConfig, name.as_bytes());
        let bytes = Manifest::new(Family::Oci, config, Vec::new()).to_bytes().unwrap();
        RawManifest::parse(bytes, None).unwrap()
    }

    fn index(of: &[&RawManifest]) -> RawManifest {
        let entries = of.iter().map(|raw| raw.descriptor()).collect();
        RawManifest::parse(Index::new(Family::Oci, entries).to_bytes().unwrap(), None).unwrap()
    }

    /// Gathers what these documents have.
    fn gather(top: &RawManifest, all: &[&RawManifest]) -> Result<Package, FormatError> {
        let all: BTreeMap<Digest, &RawManifest> = all.iter().map(|raw| (raw.digest, *raw)).collect();
        let mut gathering = Gathering::new(top.clone());
        while let Some(wanted) = gathering.wanted()? {
            gathering.add(all[&wanted.digest].clone());
        }
        Ok(gathering.finish().unwrap())
    }

    #[test]
    fn every_document_is_asked_for_once_and_stands_after_those_it_names() {
        let (one, two) = (manifest("one"), manifest("two"));
        let inner = index(&[&two, &one]);
        let top = index(&[&one, &inner, &two, &one]);
        let package = gather(&top, &[&one, &two, &inner]).unwrap();
        let order: Vec<Digest> = package.documents().map(|raw| raw.digest).collect();
        assert_eq!(order, [one.digest, two.digest, inner.digest, top.digest]);
        assert_eq!(package.blobs().len(), 2, "two configs");
    }

    #[test]
    fn what_an_index_names_that_is_no_document_is_a_blob() {
        let layer = Descriptor::of(MediaType::OciLayerGzip, b"x");
        let foreign = Descriptor::of(MediaType::OciForeignLayerGzip, b"y");
        let bytes = Index::new(Family::Oci, vec![layer.clone(), foreign]).to_bytes().unwrap();
        let package = gather(&RawManifest::parse(bytes, None).unwrap(), &[]).unwrap();
        assert_eq!(package.blobs(), [&layer]);
    }

    #[test]
    fn nesting_and_number_have_limits() {
        let mut chain = vec![manifest("one")];
        for _ in 0..=DEPTH_LIMIT {
            chain.push(index(&[chain.last().unwrap()]));
        }
        let all: Vec<&RawManifest> = chain.iter().collect();
        assert!(gather(&chain[DEPTH_LIMIT], &all).is_ok());
        let deep = gather(&chain[DEPTH_LIMIT + 1], &all).unwrap_err();
        assert!(matches!(deep, FormatError::TooDeep { .. }), "{deep}");

        let many: Vec<RawManifest> =
            (0..=DOCUMENT_LIMIT).map(|number| manifest(&number.to_string())).collect();
        let many: Vec<&RawManifest> = many.iter().collect();
        let error = gather(&index(&many), &many).unwrap_err();
        assert!(matches!(error, FormatError::TooManyManifests { .. }), "{error}");
    }
}
