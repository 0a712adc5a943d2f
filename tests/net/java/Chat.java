import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.io.ByteArrayInputStream;

/** The stock HTTP client with its defaults, which offers h2c with every request; by length, in chunks, without a body. */
public class Chat {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String model = arguments.length > 1 ? arguments[1] : "m";
        String messages = arguments.length > 1 ? "[{\"role\":\"user\",\"content\":\"hello\"}]" : "[]";
        byte[] body = ("{\"model\":\"" + model + "\",\"messages\":" + messages + "}").getBytes();
        URI uri = URI.create(arguments[0]);
        HttpRequest[] requests = {
            HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build(),
            HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))).build(),
            HttpRequest.newBuilder(uri).GET().build(),
        };
        for (HttpRequest request : requests) {
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().replace("\n", " "));
        }
    }
}
