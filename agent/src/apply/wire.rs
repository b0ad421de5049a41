//! Messages between the agent and the executor: each after its length (4 bytes, big-endian).
//!
//! Guarantees: nothing longer than [`MOST_BYTES`] is read or kept.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest message: an order holds every file of a role, and is no longer than what a
/// coordinator sends.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The next message; `None`: the other end hung up between two. Not to be dropped halfway.
///
/// # Errors
/// The system's own; what is too long or no message.
pub async fn read<M: Message + Default>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        let why = format!("a message of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    let message = M::decode(bytes.as_slice());
    message
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes one. Not to be dropped halfway.
///
/// # Errors
/// The system's own; what is too long.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).ok();
    let length = length.filter(|_| bytes.len() <= MOST_BYTES);
    let length = length.ok_or_else(|| {
        let why = format!("a message of {} bytes", bytes.len());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    let framed = [length.to_be_bytes().as_slice(), &bytes].concat();
    to.write_all(&framed).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use hamesh_proto::v1::RoleReport;

    use super::*;

    #[tokio::test]
    async fn messages_come_as_they_went_and_one_that_is_too_long_is_refused() {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let report = RoleReport {
            problem: "x".repeat(1000),
            ..RoleReport::default()
        };
        write(&mut near, &report).await.expect("written");
        write(&mut near, &RoleReport::default())
            .await
            .expect("written");
        assert_eq!(read(&mut far).await.expect("read"), Some(report));
        assert_eq!(
            read(&mut far).await.expect("read"),
            Some(RoleReport::default())
        );
        near.write_all(&u32::MAX.to_be_bytes())
            .await
            .expect("written");
        assert!(read::<RoleReport>(&mut far).await.is_err());
        drop(near);
        assert!(matches!(read::<RoleReport>(&mut far).await, Ok(None)));
    }
}
