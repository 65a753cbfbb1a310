//! The names of the files that cells are compiled as: `FOLDER/HASH.py`. A debugging client computes them, too, from what
//! `debugInfo` says of the hash (Murmur2 with this seed), as for cells of ipykernel.

/// The seed of the hash, ipykernel's.
pub const CELL_HASH_SEED: u32 = 0xC70F_6907;

/// The name of the file of a cell with this code, as UTF-8.
pub fn cell_file(folder: &str, code: &[u8]) -> String {
    format!("{folder}/{}.py", murmur2(code, CELL_HASH_SEED))
}

/// `MurmurHash2`, for 32 bits.
fn murmur2(data: &[u8], seed: u32) -> u32 {
    const M: u32 = 0x5BD1_E995;
    // The algorithm takes the length modulo 2^32.
    #[allow(clippy::cast_possible_truncation)]
    let mut hash = seed ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_ipykernel() {
        for (code, hash) in [
            ("", 3_990_065_800),
            ("a", 2_167_009_006),
            ("ab", 2_805_137_849),
            ("abc", 3_350_977_461),
            ("abcd", 804_720_481),
            ("print('hällo')\n", 536_416_536),
        ] {
            assert_eq!(murmur2(code.as_bytes(), CELL_HASH_SEED), hash, "{code}");
        }
        assert_eq!(murmur2("x = 5\n".repeat(100).as_bytes(), CELL_HASH_SEED), 2_547_652_370);
        assert_eq!(cell_file("/tmp/ipykernel_1", b"1/0"), "/tmp/ipykernel_1/2354412189.py");
    }
}
