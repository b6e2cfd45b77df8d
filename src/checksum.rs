//! XXH3-128 of files: finds what an accident changed. No protection against someone who wants two
//! files to look alike.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use twox_hash::xxhash3_128::Hasher;

const BLOCK: usize = 1 << 20;

/// Checksum of all bytes of a file.
pub fn file_checksum(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish_128()),
            read => hasher.write(&block[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_value_of_no_bytes() {
        // XXH3-128 of the empty input with seed 0, from the reference implementation's test vectors.
        let path = std::env::temp_dir().join(format!("tokenfleet-empty-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let found = file_checksum(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
