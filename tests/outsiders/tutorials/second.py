import os
import requests
import time
from typing import List, Dict, Any

class GenesysAnalyticsFetcher:
    def __init__(self, client_id: str, client_secret: str):
        self.client_id = client_id
        self.client_secret = client_secret
        self.access_token = None
        self.base_url = "https://api.mypurecloud.com"
        self.headers = {}

    def authenticate(self) -> None:
        """Performs OAuth 2.0 Client Credentials Grant."""
        auth_url = f"{self.base_url}/oauth/token"
        payload = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret
        }
        response = requests.post(auth_url, data=payload)
        if response.status_code != 200:
            raise Exception(f"Auth failed: {response.text}")
        self.access_token = response.json()["access_token"]
        self.headers = {
            "Authorization": f"Bearer {self.access_token}",
            "Content-Type": "application/json"
        }

    def _make_request(self, url: str, payload: Dict[str, Any]) -> Dict[str, Any]:
        """Handles HTTP POST with retry logic for 429s."""
        response = requests.post(url, json=payload, headers=self.headers)
        if response.status_code == 200:
            return response.json()
        elif response.status_code == 429:
            retry_after = int(response.headers.get("Retry-After", 5))
            print(f"Rate limited. Sleeping {retry_after}s")
            time.sleep(retry_after)
            return self._make_request(url, payload)
        else:
            raise Exception(f"API Error {response.status_code}: {response.text}")

    def fetch_conversation_analytics(self, date_from: str, date_to: str, queue_id: str, page_size: int = 100) -> List[Dict[str, Any]]:
        """
        Fetches all conversation analytics data for a specific queue and date range.
        Args:
            date_from: ISO 8601 start date (e.g., '2023-10-01T00:00:00Z')
            date_to: ISO 8601 end date (e.g., '2023-10-01T23:59:59Z')
            queue_id: The ID of the queue to filter by.
            page_size: Number of records per page (max 1000).
        Returns:
            A list of all analytics entities.
        """
        endpoint = "/api/v2/analytics/conversations/details/query"
        url = f"{self.base_url}{endpoint}"
        # Construct the initial query
        query_body = {
            "dateFrom": date_from,
            "dateTo": date_to,
            "size": page_size,
            "pageNumber": 1,
            "groupBy": ["queueId"],
            "metrics": ["offerRate", "offerAnswerRate", "talkRate"],
            "filters": {
                "and": [
                    {
                        "path": "queue.id",
                        "operator": "in",
                        "values": [queue_id]
                    }
                ]
            }
        }
        # Step 1: Get first page and pageCount
        print("Fetching first page to determine total pages...")
        first_response = self._make_request(url, query_body)
        entities = first_response.get("entities", [])
        paging = first_response.get("paging", {})
        total_pages = paging.get("pageCount", 0)
        if total_pages == 0:
            print("No data found.")
            return []
        print(f"Total pages detected: {total_pages}")
        # Step 2: Loop through remaining pages
        for page_num in range(2, total_pages + 1):
            print(f"Fetching page {page_num}/{total_pages}...")
            query_body["pageNumber"] = page_num
            # Small delay to be respectful of rate limits
            time.sleep(0.5)
            page_response = self._make_request(url, query_body)
            page_entities = page_response.get("entities", [])
            entities.extend(page_entities)
        return entities

# --- Execution Block ---
if __name__ == "__main__":
    # Load credentials from environment variables
    CLIENT_ID = os.getenv("GENESYS_CLIENT_ID")
    CLIENT_SECRET = os.getenv("GENESYS_CLIENT_SECRET")
    if not CLIENT_ID or not CLIENT_SECRET:
        raise ValueError("GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET environment variables are required.")
    fetcher = GenesysAnalyticsFetcher(CLIENT_ID, CLIENT_SECRET)
    fetcher.authenticate()
    # Example usage
    QUEUE_ID = "your-actual-queue-id"
    START_DATE = "2023-10-01T00:00:00Z"
    END_DATE = "2023-10-01T23:59:59Z"
    try:
        data = fetcher.fetch_conversation_analytics(START_DATE, END_DATE, QUEUE_ID)
        print(f"Successfully retrieved {len(data)} records.")
        if data:
            print("Sample record:", data[0])
    except Exception as e:
        print(f"Error: {e}")
