"""asyncssh's SFTP server for one user in one folder: PORT FOLDER HOST_KEY USER PASSWORD PUBLIC_KEY
UID GID. It becomes that user."""

import asyncio
import os
import sys

import asyncssh

PORT, FOLDER, HOST_KEY, USER, PASSWORD, PUBLIC_KEY, UID, GID = sys.argv[1:]


class Login(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == (USER, PASSWORD)


async def main():
    await asyncssh.listen(
        "127.0.0.1",
        int(PORT),
        server_factory=Login,
        server_host_keys=[HOST_KEY],
        authorized_client_keys=PUBLIC_KEY,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=FOLDER),
    )
    await asyncio.get_running_loop().create_future()


with open(HOST_KEY) as file:
    HOST_KEY = asyncssh.import_private_key(file.read())
os.setgroups([])
os.setgid(int(GID))
os.setuid(int(UID))
os.umask(0o022)
asyncio.run(main())
