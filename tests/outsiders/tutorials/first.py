import os
import sys
from datetime import datetime, timedelta, timezone
from genesyscloud import PureCloudPlatformClientV2
from genesyscloud.analytics.api import AnalyticsApi
from genesyscloud.analytics.models import AnalyticsConversationDetailQuery
from genesyscloud.rest import ApiException

def get_platform_client() -> PureCloudPlatformClientV2:
    """Initialize the Genesys Cloud Platform Client."""
    client_id = os.getenv("GENESYS_CLOUD_CLIENT_ID")
    client_secret = os.getenv("GENESYS_CLOUD_CLIENT_SECRET")
    env = os.getenv("GENESYS_CLOUD_ENV", "us-east-1")
    
    if not client_id or not client_secret:
        raise ValueError("Please set GENESYS_CLOUD_CLIENT_ID and GENESYS_CLOUD_CLIENT_SECRET environment variables.")
    
    client = PureCloudPlatformClientV2()
    client.set_environment(env)
    client.set_credentials(client_id, client_secret)
    return client

def main():
    try:
        # 1. Authenticate
        print("Authenticating with Genesys Cloud...")
        client = get_platform_client()
        
        # 2. Define Time Range (Last 7 Days)
        end_time = datetime.now(timezone.utc)
        start_time = end_time - timedelta(days=7)
        
        # Ensure ISO 8601 format with timezone
        start_iso = start_time.isoformat()
        end_iso = end_time.isoformat()
        
        print(f"Querying data from {start_iso} to {end_iso}")
        
        # 3. Build Query
        query = AnalyticsConversationDetailQuery()
        query.start_time = start_iso
        query.end_time = end_iso
        query.granularity = "day"
        
        # Example: Filter by a specific User ID
        # You must replace 'YOUR_USER_ID_HERE' with a valid UUID
        user_id = os.getenv("GENESYS_CLOUD_USER_ID")
        if user_id:
            query.entities = [
                {
                    "type": "user",
                    "id": user_id
                }
            ]
            print(f"Filtering by User ID: {user_id}")
        else:
            print("No User ID provided. Querying all users in the organization.")
        
        # Define metrics
        query.metrics = [
            "handleDuration",
            "talkDuration",
            "waitDuration",
            "holdDuration",
            "wrapupDuration"
        ]
        
        # 4. Execute Pagination
        analytics_api = AnalyticsApi(client)
        all_records = []
        current_cursor = None
        page_count = 0
        
        print("Starting pagination loop...")
        
        while True:
            try:
                # Submit the query with the current cursor
                response = analytics_api.post_analytics_conversations_details_query(
                    body=query,
                    page_cursor=current_cursor
                )
                
                # Accumulate data
                if response.entities:
                    all_records.extend(response.entities)
                    page_count += 1
                    print(f"Page {page_count}: Retrieved {len(response.entities)} records. Total so far: {len(all_records)}")
                
                # Check for next page
                if not response.next_page_cursor:
                    print("No more pages. Pagination complete.")
                    break
                
                # Update cursor for next iteration
                current_cursor = response.next_page_cursor
                
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
            print(f"  Conversation ID: {first_rec.conversation_id}")
            print(f"  Start Time: {first_rec.start_time}")
            print(f"  End Time: {first_rec.end_time}")
            if first_rec.metrics:
                print(f"  Handle Duration (ms): {first_rec.metrics.get('handleDuration', {}).get('total', 0)}")
        
    except Exception as e:
        print(f"Unexpected error: {e}")
        sys.exit(1)



def iterate_all_pages(
    client: PureCloudPlatformClientV2,
    initial_query: AnalyticsConversationDetailQuery
) -> list:
    """
    Retrieve all pages of conversation details using cursor-based pagination.
    
    Args:
        client: Authenticated platform client.
        initial_query: The initial query object without a page cursor.
        
    Returns:
        A list of all conversation detail records.
    """
    analytics_api = AnalyticsApi(client)
    all_records = []
    
    # Start with the initial query (no cursor)
    current_cursor = None
    
    while True:
        try:
            # Call the API, passing the cursor if it exists
            response = analytics_api.post_analytics_conversations_details_query(
                body=initial_query,
                page_cursor=current_cursor
            )
            
            # Append the records from this page to our accumulator
            if response.entities and len(response.entities) > 0:
                all_records.extend(response.entities)
            
            # Check if there is a next page
            next_cursor = response.next_page_cursor
            
            if not next_cursor:
                # No more pages, exit the loop
                break
            
            # Prepare for the next iteration
            current_cursor = next_cursor
            
            # Optional: Add a small delay to be respectful of rate limits
            # if processing very large datasets
            # import time
            # time.sleep(0.1)
            
        except ApiException as e:
            print(f"Error during pagination: {e}\n")
            # Handle specific errors like 429 Too Many Requests here
            if e.status == 429:
                print("Rate limited. Waiting 5 seconds before retry...")
                import time
                time.sleep(5)
                continue # Retry the same page
            else:
                break # Stop on other errors
    
    return all_records


if __name__ == "__main__":
    main()
