<?php
// Every call once, with the curl extension. Address and token come from the environment.
function call(string $method, string $path, ?array $body = null): array
{
    $headers = ["Accept: application/json", "Authorization: Bearer " . getenv("TRUSTCALLER_TOKEN")];
    $options = [CURLOPT_CUSTOMREQUEST => $method, CURLOPT_RETURNTRANSFER => true];
    if ($body !== null) {
        $headers[] = "Content-Type: application/json";
        $options[CURLOPT_POSTFIELDS] = json_encode($body);
    }
    $request = curl_init(getenv("TRUSTCALLER_BASE_URL") . $path);
    curl_setopt_array($request, $options + [CURLOPT_HTTPHEADER => $headers]);
    $answer = curl_exec($request);
    $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
    if ($status >= 300) {
        throw new RuntimeException("$method $path: $status");
    }
    return json_decode($answer, true);
}

$numbers = call("GET", "/numbers?per_page=10");
echo "number ", $numbers["data"][0]["number"], "\n";
echo "test number ", call("GET", "/test-numbers?prefix=8613")["data"][0]["test_number"], "\n";
$calls = call("GET", "/calls?from=2026-05-01&to=2026-05-16");
echo "caller ", $calls["data"][0]["caller_id"], "\n";
echo "call ", call("GET", "/calls/" . $calls["data"][0]["id"])["data"]["call_unique_id"], "\n";
echo "live ", json_encode(call("GET", "/calls/check?number=" . $numbers["data"][0]["number"])["call_received"]), "\n";
$key = call("POST", "/auth/keys", ["name" => "Round trip"]);
echo "key ", $key["name"], "\n";
echo "keys ", call("GET", "/auth/keys")["count"], "\n";
echo "revoked ", call("DELETE", "/auth/keys/" . $key["id"])["message"], "\n";
