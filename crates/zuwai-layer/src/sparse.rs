//! The content of an entry as it lies in the archive: data and holes.

/// A hole and the data after it. A file that is not sparse is one extent without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    hole: u64,
    data: u64,
}

/// What is left of an entry's content.
#[derive(Debug, Default)]
pub(crate) struct Content {
    present: Option<Extent>,
    /// The extents after the present one, last first.
    later: Vec<Extent>,
    /// Bytes between the last data and the next header.
    padding: u64,
}

/// What comes next.
pub(crate) enum Piece {
    /// So many zero bytes that are not in the archive.
    Hole(u64),
    /// So many bytes of the archive.
    Data(u64),
}

impl Content {
    /// Content that lies in the archive byte for byte.
    pub(crate) fn plain(size: u64) -> Self {
        Self {
            present: Some(Extent { hole: 0, data: size }),
            later: Vec::new(),
            padding: size.wrapping_neg() % 512,
        }
    }

    /// Content of which only the parts of `map` (offset and length) lie in the archive, `stored` bytes in all.
    /// `None` if the parts overlap, are not in order, pass the file's size, or are not what is stored.
    pub(crate) fn sparse(map: impl Iterator<Item = (u64, u64)>, size: u64, stored: u64) -> Option<Self> {
        let mut extents = Vec::new();
        let (mut at, mut total) = (0u64, 0u64);
        for (offset, length) in map {
            let hole = offset.checked_sub(at)?;
            at = offset.checked_add(length).filter(|end| *end <= size)?;
            total += length;
            extents.push(Extent { hole, data: length });
        }
        if total != stored {
            return None;
        }
        extents.push(Extent { hole: size - at, data: 0 });
        extents.reverse();
        Some(Self { present: None, later: extents, padding: stored.wrapping_neg() % 512 })
    }

    /// Whether it has no holes and lies in one piece.
    pub(crate) fn is_plain(&self) -> bool {
        self.later.is_empty() && self.present.is_some_and(|extent| extent.hole == 0)
    }

    /// The next piece; `None` at the end.
    pub(crate) fn piece(&mut self) -> Option<Piece> {
        loop {
            match self.present {
                Some(Extent { hole, .. }) if hole > 0 => return Some(Piece::Hole(hole)),
                Some(Extent { data, .. }) if data > 0 => return Some(Piece::Data(data)),
                _ => self.present = Some(self.later.pop()?),
            }
        }
    }

    /// Takes bytes of the present piece.
    pub(crate) fn consume(&mut self, amount: u64) {
        if let Some(extent) = &mut self.present {
            let left = if extent.hole > 0 { &mut extent.hole } else { &mut extent.data };
            *left = left.saturating_sub(amount);
        }
    }

    /// Bytes of content that are left, holes included.
    pub(crate) fn left(&self) -> u64 {
        self.present.iter().chain(&self.later).map(|extent| extent.hole + extent.data).sum()
    }

    /// Bytes up to the next header, which are no longer content after this.
    pub(crate) fn skip(&mut self) -> u64 {
        let data: u64 = self.present.iter().chain(&self.later).map(|extent| extent.data).sum();
        let skip = data.saturating_add(self.padding);
        *self = Self::default();
        skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_contradict_the_file_are_refused() {
        for (map, size, stored) in [
            (&[(0, 10)][..], 9, 10),
            (&[(0, 10)], 10, 9),
            (&[(5, 5), (9, 1)], 20, 6),
            (&[(10, 1), (0, 1)], 20, 2),
            (&[(u64::MAX, 2)], u64::MAX, 2),
            (&[(u64::MAX - 1, u64::MAX)], u64::MAX, u64::MAX),
        ] {
            assert!(Content::sparse(map.iter().copied(), size, stored).is_none(), "{map:?}");
        }
    }

    #[test]
    fn holes_and_data_alternate_up_to_the_size() {
        let mut content = Content::sparse([(5, 3), (8, 0), (10, 2)].into_iter(), 20, 5).unwrap();
        assert_eq!(content.left(), 20);
        let mut pieces = Vec::new();
        while let Some(piece) = content.piece() {
            let length = match piece {
                Piece::Hole(length) => {
                    pieces.push(-(length as i64));
                    length
                }
                Piece::Data(length) => {
                    pieces.push(length as i64);
                    length
                }
            };
            content.consume(length);
        }
        assert_eq!(pieces, [-5, 3, -2, 2, -8]);
        assert_eq!(content.skip(), 507);
    }
}
