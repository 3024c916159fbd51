//! Images and labels in the IDX format of MNIST and its relatives, gzip or not.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// Most bytes of a file: MNIST's 60,000 images of 28x28 are 47 MB.
const MOST: u64 = 1 << 28;

/// Images of `height * width` bytes each, row by row.
pub(crate) struct Images {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) pixels: Vec<Vec<u8>>,
}

/// Reads a file of images.
pub(crate) fn images(file: &Path) -> Result<Images, Error> {
    let ([count, height, width], data) = read::<3>(file)?;
    let size = height * width;
    if size == 0 || data.len() != count * size {
        return Err(bad(file, "not as many pixels as its header says"));
    }
    Ok(Images { height, width, pixels: data.chunks_exact(size).map(<[u8]>::to_vec).collect() })
}

/// Reads a file of labels.
pub(crate) fn labels(file: &Path) -> Result<Vec<usize>, Error> {
    let ([count], data) = read::<1>(file)?;
    if data.len() != count {
        return Err(bad(file, "not as many labels as its header says"));
    }
    Ok(data.into_iter().map(usize::from).collect())
}

fn bad(file: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{}: {reason}", file.display()))
}

/// Dimensions and data of a file of bytes with `D` dimensions.
fn read<const D: usize>(file: &Path) -> Result<([usize; D], Vec<u8>), Error> {
    let named = |error: Error| Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut bytes = vec![];
    File::open(file).map_err(named)?.take(MOST).read_to_end(&mut bytes).map_err(named)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = vec![];
        GzDecoder::new(&bytes[..]).take(MOST).read_to_end(&mut unpacked).map_err(named)?;
        bytes = unpacked;
    }
    let header = 4 + 4 * D;
    if bytes.len() < header || bytes[..3] != [0, 0, 8] || usize::from(bytes[3]) != D {
        return Err(bad(file, &format!("no IDX file of bytes in {D} dimensions")));
    }
    let data = bytes.split_off(header);
    // At most 2^16 each, so that products of three do not overflow.
    let mut dimensions = [0; D];
    for (dimension, word) in dimensions.iter_mut().zip(bytes[4..].as_chunks::<4>().0) {
        let size = u32::from_be_bytes(*word);
        *dimension = u16::try_from(size.saturating_sub(1)).map_err(|_| bad(file, "more than 2^16 of something"))?
            as usize
            + usize::from(size > 0);
    }
    Ok((dimensions, data))
}
