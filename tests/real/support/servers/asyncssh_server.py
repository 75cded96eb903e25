"""asyncssh's SFTP server for one user in one folder: PORT FOLDER HOST_KEY USER PASSWORD PUBLIC_KEY
UID GID [ANSWER]. It becomes that user. With ANSWER the folder is not the user's root but where the
login puts the user, and REALPATH of "." is answered so; "fails": refused."""

import asyncio
import os
import sys

import asyncssh

PORT, FOLDER, HOST_KEY, USER, PASSWORD, PUBLIC_KEY, UID, GID, *ANSWER = sys.argv[1:]


class Login(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == (USER, PASSWORD)


class Odd(asyncssh.SFTPServer):
    def realpath(self, path):
        if path != b".":
            return super().realpath(path)
        if ANSWER == ["fails"]:
            raise asyncssh.SFTPFailure("not reported")
        return ANSWER[0].encode()


def served(channel):
    return Odd(channel) if ANSWER else asyncssh.SFTPServer(channel, chroot=FOLDER)


async def main():
    await asyncssh.listen(
        "127.0.0.1",
        int(PORT),
        server_factory=Login,
        server_host_keys=[HOST_KEY],
        authorized_client_keys=PUBLIC_KEY,
        sftp_factory=served,
    )
    await asyncio.get_running_loop().create_future()


with open(HOST_KEY) as file:
    HOST_KEY = asyncssh.import_private_key(file.read())
os.setgroups([])
os.setgid(int(GID))
os.setuid(int(UID))
os.umask(0o022)
os.chdir(FOLDER)
asyncio.run(main())
