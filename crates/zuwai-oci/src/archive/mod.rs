//! Images as files: docker archives, OCI layouts, OCI archives. Everything streams. What is written needs its layers in
//! the store; what is read goes there.

pub mod archive_error;
pub mod archive_file;
mod docker;
mod docker_reader;
mod layout;
pub mod layout_error;
mod layout_reader;
mod layout_source;
mod tar;

use std::io::{Read, Write};

pub use archive_error::ArchiveError;
pub use archive_file::ArchiveFile;
pub use docker::write_docker_archive;
pub use docker_reader::{ArchivedImage, DockerArchive};
pub use layout::{
    add_package_to_oci_layout, add_to_oci_layout, write_oci_archive, write_oci_layout,
    write_package_as_oci_archive,
};
pub use layout_error::LayoutError;
pub use layout_reader::LayoutReference;
pub use layout_source::Layout;

use crate::descriptor::Descriptor;
use crate::error::OciError;
use crate::store::Store;
use tar::TarWriter;

/// Opens a blob that an output needs; it must have the length that its descriptor says.
fn open_blob(store: &Store, blob: &Descriptor) -> Result<std::fs::File, OciError> {
    let directory = || store.directory().to_owned();
    match store.size(&blob.digest) {
        Some(size) if size == blob.size => store.reader(&blob.digest),
        Some(actual) => {
            Err(OciError::StoredSize { digest: blob.digest, store: directory(), expected: blob.size, actual })
        }
        None => Err(OciError::MissingBlob { digest: blob.digest, store: directory() }),
    }
}

/// Copies a blob into an archive under this name.
fn append_blob<W: Write>(
    archive: &mut TarWriter<W>,
    name: &str,
    store: &Store,
    blob: &Descriptor,
) -> Result<(), OciError> {
    let file = open_blob(store, blob)?;
    archive.file(name, blob.size, file.take(blob.size))
}
