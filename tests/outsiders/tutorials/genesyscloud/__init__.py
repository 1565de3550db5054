"""The package that the first tutorial imports, as far as its script uses it; no package of that name has these."""

import json
import os
import urllib.request


class PureCloudPlatformClientV2:
    """A client: where to ask, and with which credentials."""

    def __init__(self):
        self.base, self.token, self.pair = os.environ["TUTORIAL_BASE_URL"], None, None

    def set_environment(self, env):
        self.environment = env

    def set_credentials(self, client_id, client_secret):
        self.pair = (client_id, client_secret)

    def authorization(self):
        if self.token is None:
            import base64
            pair = base64.b64encode(":".join(self.pair).encode()).decode()
            request = urllib.request.Request(self.base + "/oauth/token", b"grant_type=client_credentials",
                                             {"Authorization": "Basic " + pair})
            with urllib.request.urlopen(request) as answer:
                self.token = json.load(answer)["access_token"]
        return "Bearer " + self.token
