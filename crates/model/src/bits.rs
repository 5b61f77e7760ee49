//! Small sets of positions.

use borsh::{BorshDeserialize, BorshSerialize};
use std::io::{Error, ErrorKind, Read, Write};

/// A position at or beyond [`Bits::MAX`] was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a set holds positions 0 to {last}; {0} was named", last = Bits::MAX - 1)]
pub struct TooManyBits(pub usize);

/// A set of positions below [`Bits::MAX`].
///
/// Canonical bytes: one length byte, then that many bytes, lowest positions first, the last byte
/// not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Bits([u64; 4]);

impl Bits {
    /// How many positions there are.
    pub const MAX: usize = 256;
    /// The empty set.
    pub const EMPTY: Self = Self([0; 4]);

    /// The set of all positions below `count`.
    pub fn first(count: usize) -> Result<Self, TooManyBits> {
        (0..count).try_fold(Self::EMPTY, |mut bits, position| {
            bits.insert(position)?;
            Ok(bits)
        })
    }

    /// Adds a position.
    pub fn insert(&mut self, position: usize) -> Result<(), TooManyBits> {
        let word = self.0.get_mut(position / 64).ok_or(TooManyBits(position))?;
        *word |= 1 << (position % 64);
        Ok(())
    }

    /// Whether the set holds `position`.
    pub fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Whether the two sets share a position.
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// How many positions are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The positions, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..Self::MAX).filter(|position| self.contains(*position))
    }

    /// One more than the highest position, zero when empty.
    pub fn end(&self) -> usize {
        let top = self.0.iter().rposition(|word| *word != 0);
        top.map_or(0, |index| index * 64 + 64 - self.0[index].leading_zeros() as usize)
    }
}

impl FromIterator<usize> for Bits {
    /// Positions at or beyond [`Bits::MAX`] are a mistake of the caller.
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        positions.into_iter().fold(Self::EMPTY, |mut bits, position| {
            bits.insert(position).expect("callers bound positions");
            bits
        })
    }
}

impl BorshSerialize for Bits {
    fn serialize<W: Write>(&self, writer: &mut W) -> std::io::Result<()> {
        let mut bytes = [0; Self::MAX / 8];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let length = self.end().div_ceil(8);
        writer.write_all(&[u8::try_from(length).expect("at most 32")])?;
        writer.write_all(&bytes[..length])
    }
}

impl BorshDeserialize for Bits {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        let length = usize::from(u8::deserialize_reader(reader)?);
        let mut bytes = [0; Self::MAX / 8];
        let used = bytes
            .get_mut(..length)
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "a bit set has at most 32 bytes"))?;
        reader.read_exact(used)?;
        if used.last() == Some(&0) {
            return Err(Error::new(ErrorKind::InvalidData, "a bit set ends in a zero byte"));
        }
        let mut bits = Self::EMPTY;
        for (word, chunk) in bits.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_padded_set_is_not_canonical() {
        assert!(borsh::from_slice::<Bits>(&[2, 1, 0]).is_err());
        assert!(borsh::from_slice::<Bits>(&[33; 40]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(positions in proptest::collection::btree_set(0..Bits::MAX, 0..40)) {
            let bits: Bits = positions.iter().copied().collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), positions.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.len(), positions.len());
            let bytes = borsh::to_vec(&bits).unwrap();
            prop_assert_eq!(borsh::from_slice::<Bits>(&bytes).unwrap(), bits);
        }
    }
}
