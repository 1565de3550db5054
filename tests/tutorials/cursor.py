# The complete working example of "Paginating Genesys Cloud Analytics Conversation Details with Cursors". The SDK calls
# that it shows are in no published SDK, so each is written out as the plain HTTP request that the document describes:
# the query's fields in the body, `pageCursor` as the SDKs send a keyword beside `body`, which is in the URL, and
# `nextPageCursor` in the answer. Names, order and control
# flow are the document's; host and dates come from the environment.
import os
import sys
from datetime import datetime

import requests


class ApiException(Exception):
    """What the SDK raises for an answer that is not a success."""

    def __init__(self, response):
        super().__init__(response.text)
        self.status = response.status_code
        self.reason = response.reason


class PlatformClient:
    """The SDK's client: a host and a token of the client credentials grant."""

    def __init__(self, base_url, client_id, client_secret):
        self.base_url = base_url
        response = requests.post(
            f"{base_url}/oauth/token", data={"grant_type": "client_credentials"}, auth=(client_id, client_secret)
        )
        if response.status_code != 200:
            raise ApiException(response)
        self.headers = {"Authorization": f"Bearer {response.json()['access_token']}"}

    def post_analytics_conversations_details_query(self, body, page_cursor=None):
        parameters = {} if page_cursor is None else {"pageCursor": page_cursor}
        url = f"{self.base_url}/api/v2/analytics/conversations/details/query"
        response = requests.post(url, params=parameters, json=body, headers=self.headers)
        if response.status_code != 200:
            raise ApiException(response)
        return response.json()


def get_platform_client():
    """Initialize the Genesys Cloud Platform Client."""
    client_id = os.getenv("GENESYS_CLOUD_CLIENT_ID")
    client_secret = os.getenv("GENESYS_CLOUD_CLIENT_SECRET")

    if not client_id or not client_secret:
        raise ValueError("Please set GENESYS_CLOUD_CLIENT_ID and GENESYS_CLOUD_CLIENT_SECRET environment variables.")

    return PlatformClient(os.environ["TUTORIAL_BASE_URL"], client_id, client_secret)


def main():
    try:
        # 1. Authenticate
        print("Authenticating with Genesys Cloud...")
        client = get_platform_client()

        # 2. Define Time Range
        end_time = datetime.fromisoformat(os.environ["TUTORIAL_END_DATE"])
        start_time = datetime.fromisoformat(os.environ["TUTORIAL_START_DATE"])

        # Ensure ISO 8601 format with timezone
        start_iso = start_time.isoformat()
        end_iso = end_time.isoformat()

        print(f"Querying data from {start_iso} to {end_iso}")

        # 3. Build Query
        query = {}
        query["startTime"] = start_iso
        query["endTime"] = end_iso
        query["granularity"] = "day"

        # Example: Filter by a specific User ID
        user_id = os.getenv("GENESYS_CLOUD_USER_ID")
        if user_id:
            query["entities"] = [
                {
                    "type": "user",
                    "id": user_id
                }
            ]
            print(f"Filtering by User ID: {user_id}")
        else:
            print("No User ID provided. Querying all users in the organization.")

        # Define metrics
        query["metrics"] = [
            "handleDuration",
            "talkDuration",
            "waitDuration",
            "holdDuration",
            "wrapupDuration"
        ]

        # 4. Execute Pagination
        all_records = []
        current_cursor = None
        page_count = 0

        print("Starting pagination loop...")

        while True:
            try:
                # Submit the query with the current cursor
                response = client.post_analytics_conversations_details_query(
                    body=query,
                    page_cursor=current_cursor
                )

                # Accumulate data
                if response.get("entities"):
                    all_records.extend(response["entities"])
                    page_count += 1
                    print(f"Page {page_count}: Retrieved {len(response['entities'])} records. Total so far: {len(all_records)}")

                # Check for next page
                if not response.get("nextPageCursor"):
                    print("No more pages. Pagination complete.")
                    break

                # Update cursor for next iteration
                current_cursor = response["nextPageCursor"]

            except ApiException as e:
                print(f"API Exception: {e.status} - {e.reason}")
                if e.status == 429:
                    print("Rate limited. Retrying in 5 seconds...")
                    import time
                    time.sleep(5)
                    continue
                else:
                    print("Fatal error. Stopping.")
                    break

        # 5. Process Results
        print(f"\nTotal records retrieved: {len(all_records)}")

        if all_records:
            print("\nSample Record:")
            # Print the first record's key fields
            first_rec = all_records[0]
            print(f"  Conversation ID: {first_rec['conversationId']}")
            print(f"  Start Time: {first_rec['startTime']}")
            print(f"  End Time: {first_rec.get('endTime')}")
            if first_rec.get("metrics"):
                print(f"  Handle Duration (ms): {first_rec['metrics'].get('handleDuration', {}).get('total', 0)}")

        return all_records

    except Exception as e:
        print(f"Unexpected error: {e}")
        sys.exit(1)


if __name__ == "__main__":
    data = main()
